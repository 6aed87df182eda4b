import { Quotes } from '@sidecart/contracts/products';
import type { TOPOLOGY } from '@sidecart/contracts/topology.generated';
import type { Dapr } from '@sidecart/kit/dapr';
import { ProblemError } from '@sidecart/kit/problem';
import type { Quote } from './order-events.ts';

/** Does not compile when the topology no longer lets orders ask it. */
const PRODUCTS = 'products' satisfies keyof (typeof TOPOLOGY)['orders']['invokes'];

/** Asks for the current prices of these SKUs. Throws ProblemError `products_unavailable` when none come in time. */
export type GetQuotes = (skus: readonly string[]) => Promise<Quote[]>;

export function createGetQuotes(dapr: Pick<Dapr, 'invoke'>, timeoutMs: number): GetQuotes {
  return async function getQuotes(skus) {
    const { items } = await ask(dapr, skus, timeoutMs).catch((cause: unknown) => {
      throw new ProblemError('products_unavailable', { retryAfterSeconds: 1, cause });
    });
    return items.map(({ sku, status, unit_price }) => ({ sku, status, unitPrice: unit_price }));
  };
}

async function ask(dapr: Pick<Dapr, 'invoke'>, skus: readonly string[], timeoutMs: number) {
  const answer = await dapr.invoke(PRODUCTS, {
    method: 'POST',
    path: '/v1/quotes',
    body: { skus },
    timeoutMs,
  });
  if (answer.status !== 200) throw new Error(`products answered ${answer.status}`);
  return Quotes.parse(answer.json());
}
