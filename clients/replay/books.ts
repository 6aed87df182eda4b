import { setTimeout as sleep } from 'node:timers/promises';
import type { Stock } from '@sidecart/contracts/inventory';
import type { Order } from '@sidecart/contracts/orders';
import type { Payment } from '@sidecart/contracts/payments';
import { mapAhead } from '../map-ahead.ts';
import type { OrderSummary, ShopApi } from '../shop-api.ts';
import { enterMoney, type MoneyBooks } from './money.ts';

/** The whole shop's stock, orders and payments, held against each other; money is in pence. */
export interface Books extends MoneyBooks {
  products: number;
  received: number;
  onHand: number;
  reserved: number;
  committed: number;
  /** Pieces of orders that are confirmed or have left, less those that came back. */
  orderedPieces: number;
  orders: number;
  /** Of all orders, whatever became of them. */
  ordersTotal: number;
}

/** Orders by id, as far as they have been read, as they were then. */
export type KnownOrders = Map<string, Order>;

export interface BooksOptions {
  signal: AbortSignal;
  /** How long to wait for books that agree. */
  patienceMs: number;
  /** Others, and those that have changed since, are read, and added. */
  known: KnownOrders;
}

const LOOK_EVERY_MS = 1_000;
const ORDERS_AT_A_TIME = 12;

/** Whose pieces are committed: nothing is put back on the shelf by itself once an order has left. */
const HAS_PIECES: readonly Order['status'][] = ['confirmed', 'shipped', 'delivered', 'lost'];
/** Nothing is under way in between; the warehouse and the carrier take their time. */
const AT_REST: readonly (string | undefined)[] = [undefined, 'hand_over', 'deliver'];

/** The ids of the orders that are not known as they are. */
export async function ordersToRead(shop: ShopApi, known: KnownOrders): Promise<string[]> {
  const ids: string[] = [];
  for await (const order of shop.orders()) if (!isCurrent(known.get(order.id), order)) ids.push(order.id);
  return ids;
}

/** Reads these orders into `known`; lists show them without their lines. */
export async function readOrders(
  shop: ShopApi,
  ids: readonly string[],
  known: KnownOrders,
  onRead: () => void,
): Promise<void> {
  for await (const order of mapAhead(ids, ORDERS_AT_A_TIME, (id) => shop.order(id))) {
    known.set(order.id, order);
    onRead();
  }
}

/**
 * Takes the books through the public API. Stock, payments and the list of orders follow an order by events, so books that do
 * not agree or are not settled are taken again, for as long as `patienceMs`.
 */
export async function takeBooks(shop: ShopApi, options: BooksOptions): Promise<Books> {
  const { known } = options;
  const deadline = performance.now() + options.patienceMs;
  for (;;) {
    const orders = mapAhead(shop.orders(), ORDERS_AT_A_TIME, async (listed) => {
      const before = known.get(listed.id);
      const order = before && isCurrent(before, listed) ? before : await shop.order(listed.id);
      known.set(order.id, order);
      return order;
    });
    const books = await keepBooks(orders, shop.stock(), shop.payments());
    const agreed = books.faults.length === 0 && books.unsettled.length === 0;
    if (agreed || performance.now() > deadline) return books;
    await sleep(LOOK_EVERY_MS, undefined, { signal: options.signal });
  }
}

/** One that something is under way with is read again: the list may be behind. */
function isCurrent(known: Order | undefined, listed: OrderSummary): boolean {
  return known !== undefined && known.updated_at >= listed.updated_at && isAtRest(known);
}

function isAtRest({ status, progress }: Order): boolean {
  return status !== 'placed' && AT_REST.includes(progress?.step);
}

type Some<T> = AsyncIterable<T> | Iterable<T>;

/** Holds every stock entry, order and payment against the rules; exact, in whole pieces and pence. */
export async function keepBooks(
  orders: Some<Order>,
  stock: Some<Stock>,
  payments: Some<Payment>,
): Promise<Books> {
  const books: Books = {
    products: 0,
    received: 0,
    onHand: 0,
    reserved: 0,
    committed: 0,
    orderedPieces: 0,
    orders: 0,
    leftOrders: 0,
    ordersTotal: 0,
    paid: 0,
    refunded: 0,
    captured: 0,
    paidBack: 0,
    held: 0,
    faults: [],
    unsettled: [],
  };
  const all: Order[] = [];
  for await (const order of orders) all.push(order);
  const ordered = enterOrders(books, all);
  await enterStock(books, stock, ordered);
  await enterMoney(books, all, payments);
  return books;
}

/** Returns the pieces that the orders have, by product. */
function enterOrders(books: Books, orders: readonly Order[]): Map<string, number> {
  const ordered = new Map<string, number>();
  const underway = new Map<string, number>();
  for (const order of orders) {
    books.orders++;
    books.ordersTotal += order.total.amount;
    checkLines(books, order);
    if (!isAtRest(order)) {
      const step = order.progress?.step ?? order.status;
      underway.set(step, (underway.get(step) ?? 0) + 1);
    }
    if (!HAS_PIECES.includes(order.status)) continue;
    for (const { sku, quantity, restocked = 0 } of order.lines) {
      books.orderedPieces += quantity - restocked;
      ordered.set(sku, (ordered.get(sku) ?? 0) + quantity - restocked);
    }
  }
  const { person: needing = 0, ...waiting } = Object.fromEntries(underway);
  for (const [step, count] of Object.entries(waiting)) {
    books.unsettled.push(`${count} orders are under way (${step})`);
  }
  if (needing > 0) {
    books.unsettled.push(`${needing} orders need a person (GET /v1/orders?attention=true)`);
  }
  return ordered;
}

function checkLines(books: Books, order: Order): void {
  for (const { sku, quantity, unit_price, line_total, refunded = 0, restocked = 0 } of order.lines) {
    const fault = (text: string) => books.faults.push(`order ${order.id}, ${sku}: ${text}`);
    if (line_total.amount !== quantity * unit_price.amount) {
      fault(`line total ${line_total.amount}, but ${quantity} x ${unit_price.amount} pence`);
    }
    if (refunded > quantity) fault(`${refunded} refunded, of ${quantity}`);
    if (restocked > quantity) fault(`${restocked} came back, of ${quantity}`);
  }
  const sum = order.lines.reduce((total, line) => total + line.quantity * line.unit_price.amount, 0);
  if (order.total.amount !== sum) {
    books.faults.push(`order ${order.id}: total ${order.total.amount}, but its lines come to ${sum} pence`);
  }
}

async function enterStock(
  books: Books,
  stock: Some<Stock>,
  ordered: ReadonlyMap<string, number>,
): Promise<void> {
  const unlisted = new Map([...ordered].filter(([, pieces]) => pieces > 0));
  for await (const { sku, received, on_hand, reserved, committed } of stock) {
    books.products++;
    books.received += received;
    books.onHand += on_hand;
    books.reserved += reserved;
    books.committed += committed;
    unlisted.delete(sku);
    if (received !== on_hand + reserved + committed) {
      books.faults.push(
        `${sku}: received ${received}, but ${on_hand} + ${reserved} + ${committed} are there`,
      );
    }
    const pieces = ordered.get(sku) ?? 0;
    if (committed !== pieces) {
      books.faults.push(`${sku}: ${committed} committed, but ${pieces} on orders, less what came back`);
    }
  }
  for (const [sku, pieces] of unlisted) books.faults.push(`${sku}: ${pieces} on orders, but no stock`);
  if (books.reserved > 0) books.unsettled.push(`${books.reserved} pieces are still reserved`);
}
