import type { Executor, Transaction } from '@sidecart/kit/db';
import { and, asc, desc, eq, lt } from 'drizzle-orm';
import { evolve, initialState, type OrderEvent, type OrderPlaced, type OrderState } from './order.ts';
import { orderLines, orders } from './schema.ts';

export type OrderRow = typeof orders.$inferSelect;
export type OrderLineRow = typeof orderLines.$inferSelect;

type Publish = (events: OrderEvent[]) => Promise<void>;

/**
 * Decides about one order with its row locked for the rest of the transaction, and stores what was decided. Taking
 * the decision as a function leaves no way to decide on a state that another transaction is changing. `publish` gets
 * the events, and what it writes goes out together with the rest.
 */
export async function updateOrder(
  tx: Transaction,
  orderId: string,
  decide: (state: OrderState) => OrderEvent[],
  publish: Publish,
): Promise<OrderEvent[]> {
  const [row] = await tx
    .select({ orderId: orders.id, customerId: orders.customerId, status: orders.status })
    .from(orders)
    .where(eq(orders.id, orderId))
    .for('update');
  const state: OrderState = row ? { ...row, customerId: row.customerId ?? undefined } : initialState();
  const events = decide(state);
  await Promise.all([storeEvents(tx, state, events), publish(events)]);
  return events;
}

/** The same for an order that nobody else can know of yet: there is no row to lock. */
export async function createOrder(
  tx: Transaction,
  decide: (state: OrderState) => OrderEvent[],
  publish: Publish,
): Promise<OrderEvent[]> {
  const events = decide(initialState());
  await Promise.all([storeEvents(tx, initialState(), events), publish(events)]);
  return events;
}

/** An order with its lines in the order in which they were sent. */
export async function findOrder(
  db: Executor,
  id: string,
): Promise<{ order: OrderRow; lines: OrderLineRow[] } | undefined> {
  const [order] = await db.select().from(orders).where(eq(orders.id, id));
  if (!order) return undefined;
  const lines = await db
    .select()
    .from(orderLines)
    .where(eq(orderLines.orderId, id))
    .orderBy(asc(orderLines.position));
  return { order, lines };
}

/** Newest first (ids sort by time); `before` is the last id of the page before. */
export function listOrders(
  db: Executor,
  o: { status?: OrderRow['status'] | undefined; before?: string | undefined; take: number },
): Promise<OrderRow[]> {
  return db
    .select()
    .from(orders)
    .where(
      and(
        o.status === undefined ? undefined : eq(orders.status, o.status),
        o.before === undefined ? undefined : lt(orders.id, o.before),
      ),
    )
    .orderBy(desc(orders.id))
    .limit(o.take);
}

async function storeEvents(
  tx: Transaction,
  before: OrderState,
  events: readonly OrderEvent[],
): Promise<void> {
  let state = before;
  for (const event of events) {
    state = evolve(state, event);
    await apply(tx, event, state);
  }
}

async function apply(tx: Transaction, event: OrderEvent, next: OrderState): Promise<void> {
  if (next.status === 'none') return;
  if (event.type === 'OrderPlaced') return insertOrder(tx, event, next.status);
  await tx
    .update(orders)
    .set({ status: next.status, updatedAt: new Date(event.at), ...detailsOf(event) })
    .where(eq(orders.id, event.orderId));
}

async function insertOrder(tx: Transaction, event: OrderPlaced, status: OrderRow['status']): Promise<void> {
  const at = new Date(event.at);
  const order = tx.insert(orders).values({
    id: event.orderId,
    status,
    actor: event.actor,
    customerId: event.customerId,
    totalAmount: event.total.amount,
    currency: event.total.currency,
    placedAt: at,
    updatedAt: at,
  });
  const lines = tx.insert(orderLines).values(
    event.lines.map(({ sku, quantity, unitPrice }, position) => ({
      orderId: event.orderId,
      position,
      sku,
      quantity,
      unitPrice: unitPrice.amount,
    })),
  );
  await Promise.all([order, lines]);
}

function detailsOf(event: OrderEvent): Partial<OrderRow> {
  switch (event.type) {
    case 'OrderRejected':
      return { shortLines: event.short };
    case 'OrderCancelled':
      return { cancelReason: event.reason ?? null };
    case 'OrderPlaced':
    case 'OrderConfirmed':
      return {};
  }
}
