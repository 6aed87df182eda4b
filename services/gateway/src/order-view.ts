import { Order, type OrderView } from '@sidecart/contracts/orders';
import type { GetProductNames } from './product-names.ts';

/** Joins an order, as orders answered it, with the names of its products; says so when they are missing. */
export async function joinNames(answered: unknown, getNames: GetProductNames): Promise<OrderView> {
  const order = Order.parse(answered);
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
