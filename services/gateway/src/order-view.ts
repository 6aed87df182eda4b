import { Order, type OrderView } from '@sidecart/contracts/orders';
import type { InvokeAnswer } from '@sidecart/kit/dapr';
import { ProblemError } from '@sidecart/kit/problem';
import type { GetProductNames } from './product-names.ts';

/**
 * Joins an order, as orders answered it, with the names of its products; says so when they are missing. Throws
 * ProblemError `upstream_invalid` when the answer is no order.
 */
export async function joinNames(answer: InvokeAnswer, getNames: GetProductNames): Promise<OrderView> {
  const order = readOrder(answer);
  const names = await getNames(order.lines.map((line) => line.sku));
  if (!names) return { ...order, missing: ['product_names'] };
  return {
    ...order,
    lines: order.lines.map((line) => {
      const name = names.get(line.sku);
      return name === undefined ? line : { ...line, name };
    }),
  };
}

function readOrder(answer: InvokeAnswer): Order {
  try {
    return Order.parse(answer.json());
  } catch (cause) {
    throw new ProblemError('upstream_invalid', { cause });
  }
}
