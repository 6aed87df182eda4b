import { Quotes } from '@sidecart/contracts/products';
import type { TOPOLOGY } from '@sidecart/contracts/topology.generated';
import type { Dapr } from '@sidecart/kit/dapr';
import type { Logger } from '@sidecart/kit/log';

/** Does not compile when the topology no longer lets the gateway ask it. */
const PRODUCTS = 'products' satisfies keyof (typeof TOPOLOGY)['gateway']['invokes'];

/** Names by SKU, or nothing when they cannot be had in time. Never throws. */
export type GetProductNames = (skus: readonly string[]) => Promise<Map<string, string> | undefined>;

/** After a failure nobody asks for this long, so that an outage of products costs most readers nothing. */
const PAUSE_MS = 1000;

export function createGetProductNames(o: {
  dapr: Pick<Dapr, 'invoke'>;
  log: Logger;
  timeoutMs: number;
  /** Milliseconds of a clock that only goes forward. */
  now?: () => number;
}): GetProductNames {
  const now = o.now ?? (() => performance.now());
  let askAgainAt = Number.NEGATIVE_INFINITY;

  return async function getProductNames(skus) {
    if (now() < askAgainAt) return undefined;
    try {
      return await ask(o.dapr, [...new Set(skus)], o.timeoutMs);
    } catch (err) {
      askAgainAt = now() + PAUSE_MS;
      o.log.warn({ err }, 'product names are missing from an order');
      return undefined;
    }
  };
}

async function ask(dapr: Pick<Dapr, 'invoke'>, skus: string[], timeoutMs: number) {
  const request = { method: 'POST', path: '/v1/quotes', body: { skus }, timeoutMs };
  const answer = await dapr.invoke(PRODUCTS, request);
  if (answer.status !== 200) throw new Error(`products answered ${answer.status}`);
  const { items } = Quotes.parse(answer.json());
  return new Map(items.map(({ sku, name }) => [sku, name]));
}
