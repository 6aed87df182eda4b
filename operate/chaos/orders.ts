import { setTimeout as sleep } from 'node:timers/promises';
import type { Stock } from '@sidecart/contracts/inventory';
import { gbp, type Money } from '@sidecart/contracts/money';
import type { Order } from '@sidecart/contracts/orders';
import type { Payment } from '@sidecart/contracts/payments';
import { GatewayUnreachableError, RefusedError } from '../../clients/gateway-client.ts';
import { mapAhead } from '../../clients/map-ahead.ts';
import type { ShopApi } from '../../clients/shop-api.ts';
import { ShopError } from '../../local/shop-error.ts';

// What the customers do, through the public API alone.

export const MUG = { sku: 'CHAOS-MUG', name: 'Unbreakable mug', unit_price: gbp(1195) };
export const PIECES = 2;

const PAUSE_MS = 200;
const PAYMENTS_AT_A_TIME = 12;

export interface Customers {
  shop: ShopApi;
  /** Names this run in its keys. */
  run: string;
  signal: AbortSignal;
  /** How long an order is tried until it is accepted, waited for until it has ended, and stock until it is at rest. */
  patienceMs: number;
}

export interface Placed {
  id: string;
  /** When it was sent for the first time, by this machine's clock, which is the shop's too. */
  sentAt: number;
}

export interface Ended {
  order: Order;
  /** From the first request to the end; undefined for an order that has none. */
  tookMs?: number;
}

/** Puts the product on sale and receives stock for so many orders; gives its price, which somebody may have changed since an earlier run. */
export async function sell({ shop, run }: Customers, orders: number): Promise<Money> {
  await shop.createProduct(MUG);
  await shop.receiveStock(`${run}-stock`, 'chaos', [{ sku: MUG.sku, quantity: orders * PIECES }]);
  return (await shop.product(MUG.sku)).unit_price;
}

/** One after the other, at most one in `everyMs`; those that an outage held up follow without a pause. */
export async function placeOrders(
  customers: Customers,
  o: { orders: number; everyMs: number; price: Money; onPlaced(placed: Placed): void },
): Promise<void> {
  const begunAt = performance.now();
  for (let n = 0; n < o.orders; n += 1) {
    const early = begunAt + n * o.everyMs - performance.now();
    if (early > 0) await sleep(early, undefined, { signal: customers.signal });
    const sentAt = Date.now();
    const { id } = await placeUntilAccepted(customers, `${customers.run}-${n}`, o.price);
    o.onPlaced({ id, sentAt });
  }
}

async function placeUntilAccepted(customers: Customers, key: string, price: Money): Promise<Order> {
  let unit_price = price;
  const place = async () => {
    const lines = [{ sku: MUG.sku, quantity: PIECES, unit_price }];
    const placement = await customers.shop.placeOrder(key, { customer_id: 'chaos', lines });
    if ('order' in placement) return placement.order;
    // Nothing was stored, so the same key may ask for the same at the new price.
    unit_price = placement.changedPrices[0]?.current ?? price;
    return undefined;
  };
  const order = await patiently(customers, place, (answer) => answer !== undefined);
  if (order) return order;
  throw new ShopError(`the price of ${MUG.sku} changes again and again`, 'see who else is at it');
}

/** Waits until each is confirmed, or has ended in another way; one that does neither in time is given as it is. */
export async function endsOf(customers: Customers, placed: readonly Placed[]): Promise<Ended[]> {
  const deadline = performance.now() + customers.patienceMs;
  const ended: Ended[] = [];
  for (const { id, sentAt } of placed) {
    const hasEnded = ({ status }: Order) => status !== 'placed';
    const order = await patiently(customers, () => customers.shop.order(id), hasEnded, deadline);
    ended.push({ order, ...(hasEnded(order) && { tookMs: Date.parse(order.updated_at) - sentAt }) });
  }
  return ended;
}

/** Once nothing is only set aside any more: by then inventory has heard of each confirmation, and what came twice shows. */
export function stockAtRest(customers: Customers, before: Pick<Stock, 'reserved'>): Promise<Stock> {
  const look = () => customers.shop.stockOf(MUG.sku);
  return patiently(customers, look, ({ reserved }) => reserved <= before.reserved);
}

export async function paymentsOf(customers: Customers, orders: readonly Order[]): Promise<Payment[]> {
  const look = ({ id }: Order) => patiently(customers, () => customers.shop.paymentsOf(id));
  const payments: Payment[] = [];
  for await (const its of mapAhead(orders, PAYMENTS_AT_A_TIME, look)) payments.push(...its);
  return payments;
}

/**
 * As a client should: what is refused for an outage, or not answered, is asked again, as it was. So is what is not `enough` yet; when
 * the time is over that is given as it is.
 */
async function patiently<T>(
  { signal, patienceMs }: Customers,
  ask: () => Promise<T>,
  enough: (answer: T) => boolean = () => true,
  deadline = performance.now() + patienceMs,
): Promise<T> {
  for (;;) {
    const isLate = performance.now() > deadline;
    try {
      const answer = await ask();
      if (isLate || enough(answer)) return answer;
    } catch (error) {
      if (isLate || !isOutage(error)) throw error;
    }
    await sleep(PAUSE_MS, undefined, { signal });
  }
}

function isOutage(error: unknown): boolean {
  return error instanceof GatewayUnreachableError || (error instanceof RefusedError && error.status >= 500);
}
