import { setTimeout as sleep } from 'node:timers/promises';
import type { Stock } from '@sidecart/contracts/inventory';
import type { Order } from '@sidecart/contracts/orders';
import { mapAhead } from '../map-ahead.ts';
import type { ShopApi } from '../shop-api.ts';

/** The whole shop's stock and orders, held against each other; money is in pence. */
export interface Books {
  products: number;
  received: number;
  onHand: number;
  reserved: number;
  committed: number;
  /** Pieces on confirmed orders. */
  confirmedPieces: number;
  orders: number;
  confirmedOrders: number;
  /** Of all orders, whatever became of them. */
  ordersTotal: number;
  /** What does not agree, in words. */
  faults: string[];
  /** Orders and pieces still on their way through the shop; while there are any, a fault may be one of timing. */
  unsettled: string[];
}

/** The lines of orders by order id, as far as they have been read. They never change. */
export type KnownLines = Map<string, Order['lines']>;

export interface BooksOptions {
  signal: AbortSignal;
  /** How long to wait for books that agree. */
  patienceMs: number;
  /** Others are read, and added. */
  knownLines: KnownLines;
}

const LOOK_EVERY_MS = 1_000;
const ORDERS_AT_A_TIME = 12;

/** The ids of the orders whose lines are not known. */
export async function ordersToRead(shop: ShopApi, known: KnownLines): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of shop.orders()) if (!known.has(id)) ids.push(id);
  return ids;
}

/** Reads the lines of these orders into `known`; lists show orders without them. */
export async function readOrders(
  shop: ShopApi,
  ids: readonly string[],
  known: KnownLines,
  onRead: () => void,
): Promise<void> {
  for await (const order of mapAhead(ids, ORDERS_AT_A_TIME, (id) => shop.order(id))) {
    known.set(order.id, order.lines);
    onRead();
  }
}

/**
 * Takes the books through the public API. Stock follows an order's confirmation by an event, so books that do not
 * agree or are not settled are taken again, for as long as `patienceMs`.
 */
export async function takeBooks(shop: ShopApi, options: BooksOptions): Promise<Books> {
  const deadline = performance.now() + options.patienceMs;
  for (;;) {
    const orders = mapAhead(shop.orders(), ORDERS_AT_A_TIME, async (order) => {
      const lines = options.knownLines.get(order.id) ?? (await shop.order(order.id)).lines;
      options.knownLines.set(order.id, lines);
      return { ...order, lines };
    });
    const books = await keepBooks(orders, shop.stock());
    const agreed = books.faults.length === 0 && books.unsettled.length === 0;
    if (agreed || performance.now() > deadline) return books;
    await sleep(LOOK_EVERY_MS, undefined, { signal: options.signal });
  }
}

type BookedOrder = Pick<Order, 'id' | 'status' | 'lines' | 'total'>;

/** Holds every stock entry and every order against the rules; exact, in whole pieces and pence. */
export async function keepBooks(
  orders: AsyncIterable<BookedOrder> | Iterable<BookedOrder>,
  stock: AsyncIterable<Stock> | Iterable<Stock>,
): Promise<Books> {
  const books: Books = {
    products: 0,
    received: 0,
    onHand: 0,
    reserved: 0,
    committed: 0,
    confirmedPieces: 0,
    orders: 0,
    confirmedOrders: 0,
    ordersTotal: 0,
    faults: [],
    unsettled: [],
  };
  const confirmed = await enterOrders(books, orders);
  await enterStock(books, stock, confirmed);
  return books;
}

/** Returns the pieces on confirmed orders by product. */
async function enterOrders(
  books: Books,
  orders: AsyncIterable<BookedOrder> | Iterable<BookedOrder>,
): Promise<Map<string, number>> {
  const confirmed = new Map<string, number>();
  let placed = 0;
  for await (const order of orders) {
    books.orders++;
    books.ordersTotal += order.total.amount;
    checkTotals(books, order);
    if (order.status === 'placed') placed++;
    if (order.status !== 'confirmed') continue;
    books.confirmedOrders++;
    for (const { sku, quantity } of order.lines) {
      books.confirmedPieces += quantity;
      confirmed.set(sku, (confirmed.get(sku) ?? 0) + quantity);
    }
  }
  if (placed > 0) books.unsettled.push(`${placed} orders are neither confirmed, rejected nor cancelled yet`);
  return confirmed;
}

function checkTotals(books: Books, order: BookedOrder): void {
  for (const { sku, quantity, unit_price, line_total } of order.lines) {
    if (line_total.amount === quantity * unit_price.amount) continue;
    const sum = `${quantity} x ${unit_price.amount}`;
    books.faults.push(`order ${order.id}, ${sku}: line total ${line_total.amount}, but ${sum} pence`);
  }
  const sum = order.lines.reduce((total, line) => total + line.quantity * line.unit_price.amount, 0);
  if (order.total.amount !== sum) {
    books.faults.push(`order ${order.id}: total ${order.total.amount}, but its lines come to ${sum} pence`);
  }
}

async function enterStock(
  books: Books,
  stock: AsyncIterable<Stock> | Iterable<Stock>,
  confirmed: ReadonlyMap<string, number>,
): Promise<void> {
  const unlisted = new Map(confirmed);
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
    const ordered = confirmed.get(sku) ?? 0;
    if (committed !== ordered) {
      books.faults.push(`${sku}: ${committed} committed, but ${ordered} on confirmed orders`);
    }
  }
  for (const [sku, ordered] of unlisted)
    books.faults.push(`${sku}: ${ordered} on confirmed orders, but no stock`);
  if (books.reserved > 0) books.unsettled.push(`${books.reserved} pieces are still reserved`);
}
