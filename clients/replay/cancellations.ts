import { compareText } from '../retail/catalogue.ts';
import type { OrderedLine, OrderStep } from './plan.ts';

/** What a cancellation takes back. */
export interface TakenBack {
  /** The invoices of whole orders that have not left yet. */
  cancels: string[];
  refunds: Refund[];
}

/** Some pieces of an order that has left: they come back, and their money is paid back. */
export interface Refund {
  /** Of the order. */
  invoice: string;
  lines: { sku: string; quantity: number }[];
}

/** Finds the orders that a cancellation takes back, wholly or in part. Each piece is taken back once. */
export interface Matcher {
  remember(order: OrderStep, day: string): void;
  /**
   * Of the customer's earlier orders: the one with exactly these lines, or else, line by line, an order of that line alone, one
   * with so many pieces of it left, or one with more. Code, quantity and price must agree, and the customer must be the same;
   * of several such orders it is the latest. Nobody knows whether two unknown customers are one, so a cancellation without a
   * customer matches nothing. Orders leave at the end of their day: until then a whole one is cancelled.
   */
  match(customer: string | undefined, lines: readonly OrderedLine[], day: string): TakenBack;
}

interface OpenOrder {
  invoice: string;
  day: string;
  /** Its lines, and whether nothing of it was taken back yet. */
  key: string;
  whole: boolean;
  left: Map<string, number>;
}

export function createMatcher(): Matcher {
  /** Oldest first. */
  const openOrders = new Map<string, OpenOrder[]>();
  return {
    remember({ customer, invoice, lines }, day) {
      if (customer === undefined) return;
      const left = new Map(lines.map((line) => [lineKey(line), line.quantity]));
      const order = { invoice, day, key: orderKey(lines), whole: true, left };
      const others = openOrders.get(customer);
      if (others) others.push(order);
      else openOrders.set(customer, [order]);
    },
    match(customer, lines, day) {
      const orders = openOrders.get(customer ?? '');
      if (customer === undefined || lines.length === 0 || !orders) return { cancels: [], refunds: [] };
      const taken = takeBack(orders, lines, day);
      openOrders.set(
        customer,
        orders.filter((order) => order.left.size > 0),
      );
      return taken;
    },
  };
}

function takeBack(orders: readonly OpenOrder[], lines: readonly OrderedLine[], day: string): TakenBack {
  const cancels: string[] = [];
  const refunds = new Map<string, Refund['lines']>();
  const take = (order: OpenOrder, some: readonly OrderedLine[]) => {
    const isWhole = order.whole && order.key === orderKey(some);
    for (const line of some) takePieces(order, line);
    if (isWhole && order.day === day) cancels.push(order.invoice);
    else {
      const pieces = some.map(({ sku, quantity }) => ({ sku, quantity }));
      refunds.set(order.invoice, [...(refunds.get(order.invoice) ?? []), ...pieces]);
    }
  };
  const whole = wholeOrder(orders, lines);
  if (whole) take(whole, lines);
  else
    for (const line of lines) {
      const order = orderWith(orders, line);
      if (order) take(order, [line]);
    }
  return { cancels, refunds: [...refunds].map(([invoice, pieces]) => ({ invoice, lines: pieces })) };
}

function wholeOrder(orders: readonly OpenOrder[], lines: readonly OrderedLine[]): OpenOrder | undefined {
  const key = orderKey(lines);
  return orders.findLast((order) => order.whole && order.key === key);
}

function orderWith(orders: readonly OpenOrder[], line: OrderedLine): OpenOrder | undefined {
  const key = lineKey(line);
  return (
    wholeOrder(orders, [line]) ??
    orders.findLast((order) => order.left.get(key) === line.quantity) ??
    orders.findLast((order) => (order.left.get(key) ?? 0) > line.quantity)
  );
}

function takePieces(order: OpenOrder, line: OrderedLine): void {
  const key = lineKey(line);
  const left = (order.left.get(key) ?? 0) - line.quantity;
  if (left > 0) order.left.set(key, left);
  else order.left.delete(key);
  order.whole = false;
}

function lineKey({ sku, price }: OrderedLine): string {
  return `${sku} ${price}`;
}

function orderKey(lines: readonly OrderedLine[]): string {
  return JSON.stringify(lines.map((line) => `${lineKey(line)} ${line.quantity}`).sort(compareText));
}
