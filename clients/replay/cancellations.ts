import { compareText } from '../retail/catalogue.ts';
import type { OrderedLine, OrderStep } from './plan.ts';

/** Finds the orders that a cancellation takes back. Each order is found once. */
export interface Matcher {
  remember(order: OrderStep): void;
  /**
   * The invoices of the earlier whole orders that these lines cancel: the one order with exactly these lines, or
   * else, line by line, an order of that line alone. Code, quantity and price must agree, and the customer must
   * be the same; of several such orders it is the latest. Nobody knows whether two unknown customers are one, so
   * a cancellation without a customer matches nothing.
   */
  match(customer: string | undefined, lines: readonly OrderedLine[]): string[];
}

export function createMatcher(): Matcher {
  const open = new Map<string, string[]>();
  const take = (customer: string, lines: readonly OrderedLine[]) =>
    open.get(matchKey(customer, lines))?.pop();
  return {
    remember(order) {
      if (order.customer === undefined) return;
      const key = matchKey(order.customer, order.lines);
      const invoices = open.get(key);
      if (invoices) invoices.push(order.invoice);
      else open.set(key, [order.invoice]);
    },
    match(customer, lines) {
      if (customer === undefined || lines.length === 0) return [];
      const whole = take(customer, lines);
      if (whole !== undefined) return [whole];
      return lines.flatMap((line) => take(customer, [line]) ?? []);
    },
  };
}

function matchKey(customer: string, lines: readonly OrderedLine[]): string {
  const parts = lines.map(({ sku, quantity, price }) => `${sku} ${quantity} ${price}`);
  return JSON.stringify([customer, ...parts.sort(compareText)]);
}
