import type { Executor, Transaction } from '@sidecart/kit/db';
import { DomainError } from '@sidecart/kit/domain-error';
import { and, desc, eq, isNotNull, lt } from 'drizzle-orm';
import { shipments } from './schema.ts';
import { evolve, type OrdersCommand, type ShipmentEvent, type ShipmentState } from './shipment.ts';

type Row = typeof shipments.$inferSelect;
/** The row of a shipment that there is. */
export type ShipmentRow = Row & { id: string; createdAt: Date };

type Decide = (state: ShipmentState) => ShipmentEvent[];
type Publish = (events: ShipmentEvent[]) => Promise<void>;

/**
 * Decides about the shipment of an order with its row locked for the rest of the transaction, and stores what was decided.
 * `publish` gets the events, none when nothing changes; what it writes goes out together with the rest.
 */
export async function updateForOrder(
  tx: Transaction,
  orderId: OrdersCommand['orderId'],
  decide: Decide,
  publish: Publish,
): Promise<void> {
  await store(tx, await lockOrder(tx, orderId), decide, publish);
}

/** The same for a shipment by its own id. Throws DomainError `not_found`. */
export async function updateShipment(
  tx: Transaction,
  id: string,
  decide: Decide,
  publish: Publish,
): Promise<ShipmentRow> {
  const [row] = await tx.select().from(shipments).where(eq(shipments.id, id)).for('update');
  return existing(id, await store(tx, existing(id, row), decide, publish));
}

/** Throws DomainError `not_found`. */
export async function requireShipment(db: Executor, id: string): Promise<ShipmentRow> {
  const [row] = await db.select().from(shipments).where(eq(shipments.id, id));
  return existing(id, row);
}

/** Newest first (ids sort by time); `before` is the last id of the page before. */
export async function listShipments(
  db: Executor,
  o: {
    orderId?: string | undefined;
    status?: Row['status'] | undefined;
    before?: string | undefined;
    take: number;
  },
): Promise<ShipmentRow[]> {
  const rows = await db
    .select()
    .from(shipments)
    .where(
      and(
        isNotNull(shipments.id),
        o.orderId === undefined ? undefined : eq(shipments.orderId, o.orderId),
        o.status === undefined ? undefined : eq(shipments.status, o.status),
        o.before === undefined ? undefined : lt(shipments.id, o.before),
      ),
    )
    .orderBy(desc(shipments.id))
    .limit(o.take);
  return rows.filter(isCreated);
}

/** Makes the order's row if there is none, so that there is something to lock: two messages about one order queue up here. */
async function lockOrder(tx: Transaction, orderId: string): Promise<Row> {
  const [row] = await tx
    .insert(shipments)
    .values({ orderId, status: 'none' })
    .onConflictDoUpdate({ target: shipments.orderId, set: { orderId } })
    .returning();
  if (!row) throw new Error(`The row of ${orderId} was neither made nor found`);
  return row;
}

async function store(tx: Transaction, row: Row, decide: Decide, publish: Publish): Promise<Row> {
  const before = stateOf(row);
  const events = decide(before);
  const last = events.at(-1);
  if (!last) return row;
  const created = events.find((event) => event.type === 'ShipmentCreated');
  const changes = {
    ...columnsOf(events.reduce(evolve, before)),
    ...(created && { createdAt: new Date(created.at) }),
    updatedAt: new Date(last.at),
  };
  await Promise.all([
    tx.update(shipments).set(changes).where(eq(shipments.orderId, row.orderId)),
    publish(events),
  ]);
  return { ...row, ...changes };
}

function stateOf(row: Row): ShipmentState {
  const { status, orderId, lines, packages, amendments } = row;
  const contents = { lines, packages, amendments };
  switch (status) {
    case 'none':
      return { status, ...contents };
    case 'cancelled':
      return row.id === null ? { status, ...contents } : { status, ...contents, orderId, shipmentId: row.id };
    case 'preparing':
      return { status, ...contents, orderId, shipmentId: present(row, 'id') };
    case 'handed_over':
    case 'delivered':
    case 'lost': {
      const carrier = present(row, 'carrier');
      const tracking = row.tracking ?? undefined;
      return { status, ...contents, orderId, shipmentId: present(row, 'id'), carrier, tracking };
    }
  }
}

function columnsOf(state: ShipmentState) {
  const { status, lines, packages, amendments } = state;
  return {
    status,
    lines,
    packages,
    amendments,
    id: ('shipmentId' in state && state.shipmentId) || null,
    carrier: 'carrier' in state ? state.carrier : null,
    tracking: ('tracking' in state && state.tracking) || null,
  };
}

/** A CHECK of the table holds it. */
function present(row: Row, column: 'id' | 'carrier'): string {
  const value = row[column];
  if (value === null) throw new Error(`The shipment of ${row.orderId} is ${row.status} without ${column}`);
  return value;
}

function existing(id: string, row: Row | undefined): ShipmentRow {
  if (!row || !isCreated(row)) throw new DomainError('not-found', 'not_found', { id });
  return row;
}

function isCreated(row: Row): row is ShipmentRow {
  return row.id !== null && row.createdAt !== null;
}
