import type { Catalog } from '@sidecart/contracts/catalog';
import type { NewOrder, Order } from '@sidecart/contracts/orders';
import { currentContext } from '@sidecart/kit/context';
import type { Database, Executor, Transaction } from '@sidecart/kit/db';
import { DomainError } from '@sidecart/kit/domain-error';
import { claimIdempotent, findIdempotent, fingerprint } from '@sidecart/kit/idempotency';
import { newId } from '@sidecart/kit/ids';
import type { Outbox } from '@sidecart/messaging/outbox';
import { decide, type OrderCommand, type OrderEvent, refuseDuplicateLines } from './order.ts';
import { publishEvents, sendDeadline } from './publish.ts';
import type { GetQuotes } from './quotes.ts';
import { createOrder, findOrder, updateOrder } from './store.ts';
import { placedOrder, toOrder } from './view.ts';

export interface OrderDeps {
  database: Database;
  outbox: Outbox<Catalog>;
  getQuotes: GetQuotes;
  clock: () => Date;
  /** How long an order waits for inventory before it is cancelled. */
  orderTimeoutMs: number;
}

export interface Placement {
  order: Order;
  /** True when the key had made this order before. */
  replayed: boolean;
}

/**
 * Places an order, once per (actor, key). Prices are asked for before the transaction begins, so that no lock
 * is held while another service is waited for; whatever is thrown leaves the key unused and nothing stored.
 */
export async function placeOrder(
  { database: { db }, outbox, getQuotes, clock, orderTimeoutMs }: OrderDeps,
  request: { key: string; body: NewOrder },
): Promise<Placement> {
  const { key, body } = request;
  const actor = currentContext()?.actor ?? 'anonymous';
  const claim = { actor, key, fingerprint: fingerprint(body) };
  const lines = body.lines.map(({ sku, quantity, unit_price }) => ({ sku, quantity, unitPrice: unit_price }));
  refuseDuplicateLines(lines);
  // Asked for at the same time as the key is looked up: nearly every key is new, and one that is not needs no prices.
  const quoting = getQuotes(lines.map((line) => line.sku));
  quoting.catch(() => {});
  const earlier = await findIdempotent(db, claim);
  if (earlier !== undefined) return replay(db, earlier);
  const quotes = await quoting;
  const order = { orderId: newId('ord'), actor, customerId: body.customer_id, lines };
  const at = clock().toISOString();
  return db.transaction(async (tx) => {
    // Before the decision: of two at once the second gets the first one's order, even if a price changed in between.
    const claimed = await claimIdempotent(tx, { ...claim, resource: order.orderId });
    if (!claimed.claimed) return replay(tx, claimed.resource);
    const command: OrderCommand = { type: 'PlaceOrder', ...order, quotes, at };
    const events = await createOrder(
      tx,
      (state) => decide(command, state),
      async (events) => {
        await Promise.all([
          publishEvents(tx, outbox, events),
          sendDeadline(tx, outbox, order, orderTimeoutMs),
        ]);
      },
    );
    return { order: placedOrder(events), replayed: false };
  });
}

/** Cancels an order and has its stock released; cancelling it again changes nothing. */
export async function cancelOrder(
  { database: { db }, outbox, clock }: OrderDeps,
  orderId: string,
  reason: string | undefined,
): Promise<Order> {
  const at = clock().toISOString();
  await db.transaction((tx) => handle(tx, outbox, orderId, { type: 'CancelOrder', reason, at }));
  return getOrder(db, orderId);
}

/** The order as it is now. Throws DomainError `not_found`. */
export async function getOrder(db: Executor, orderId: string): Promise<Order> {
  const found = await findOrder(db, orderId);
  if (!found) throw new DomainError('not-found', 'not_found', { orderId });
  return toOrder(found);
}

/** Locks the order, decides, stores and publishes, all in `tx`. */
export function handle(
  tx: Transaction,
  outbox: Outbox<Catalog>,
  orderId: string,
  command: OrderCommand,
): Promise<OrderEvent[]> {
  return updateOrder(
    tx,
    orderId,
    (state) => decide(command, state),
    (events) => publishEvents(tx, outbox, events),
  );
}

async function replay(db: Executor, orderId: string): Promise<Placement> {
  return { order: await getOrder(db, orderId), replayed: true };
}
