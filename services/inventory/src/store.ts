import type { StockLine } from '@sidecart/contracts/common';
import type { Executor, Transaction } from '@sidecart/kit/db';
import { DomainError } from '@sidecart/kit/domain-error';
import { newId } from '@sidecart/kit/ids';
import { and, asc, eq, gt, inArray, sql } from 'drizzle-orm';
import {
  decide,
  evolve,
  type Reservation,
  type ReservationCommand,
  type ReservationEvent,
} from './reservation.ts';
import { receipts, reservations, stock, stockMovements } from './schema.ts';

// Locks are always taken in one order - first the row of the order, then the stock rows by SKU - so two
// transactions can wait for each other but never in a circle.

export type StockRow = typeof stock.$inferSelect;
export type MovementRow = typeof stockMovements.$inferSelect;
export type ReceiptRow = typeof receipts.$inferSelect;

/** How many pieces of one SKU each count gains for one piece of a line. */
interface Step {
  kind: MovementRow['kind'];
  received: 0 | 1;
  onHand: -1 | 0 | 1;
  reserved: -1 | 0 | 1;
  committed: -1 | 0 | 1;
}

/**
 * Decides about one order with its row and all stock rows concerned locked, and stores what was decided. `publish`
 * gets the events, none when the command changes nothing; what it writes goes out together with the rest.
 */
export async function updateReservation(
  tx: Transaction,
  command: ReservationCommand,
  publish: (events: ReservationEvent[]) => Promise<void>,
): Promise<ReservationEvent[]> {
  const [state, onHand] = await lockAtStake(tx, command);
  const events = decide(command, state, (sku) => onHand.get(sku) ?? 0);
  if (events.length === 0) return events;
  await Promise.all([
    ...events.map((event) => moveStockFor(tx, event)),
    saveReservation(tx, command.orderId, events.reduce(evolve, state)),
    publish(events),
  ]);
  return events;
}

/** Takes goods in; gives the SKUs that are not known, and then has stored nothing. */
export async function receiveStock(
  tx: Transaction,
  receipt: { id: string; actor: string; reference?: string | undefined; lines: readonly StockLine[] },
): Promise<{ unknown: string[] }> {
  const known = await lockStock(tx, receipt.lines);
  const unknown = receipt.lines.map((line) => line.sku).filter((sku) => !known.has(sku));
  if (unknown.length > 0) return { unknown };
  const step: Step = { kind: 'received', received: 1, onHand: 1, reserved: 0, committed: 0 };
  await Promise.all([
    tx.insert(receipts).values(receipt),
    moveStock(tx, step, receipt.lines, { receiptId: receipt.id }),
  ]);
  return { unknown };
}

/** A product that products has told of can be received from now on. */
export async function learnProduct(tx: Transaction, sku: string): Promise<void> {
  await tx.insert(stock).values({ sku }).onConflictDoNothing();
}

export async function findReceipt(db: Executor, id: string): Promise<ReceiptRow | undefined> {
  const [row] = await db.select().from(receipts).where(eq(receipts.id, id));
  return row;
}

/** Throws DomainError `not_found` for a product that products has not told of. */
export async function requireStock(db: Executor, sku: string): Promise<StockRow> {
  const [row] = await db.select().from(stock).where(eq(stock.sku, sku));
  if (!row) throw new DomainError('not-found', 'not_found', { sku });
  return row;
}

/** By SKU; `after` is the last SKU of the page before. */
export function listStock(
  db: Executor,
  o: { after?: string | undefined; take: number },
): Promise<StockRow[]> {
  return db
    .select()
    .from(stock)
    .where(o.after === undefined ? undefined : gt(stock.sku, o.after))
    .orderBy(asc(stock.sku))
    .limit(o.take);
}

/** Oldest first; `after` is the last position of the page before. */
export function listMovements(
  db: Executor,
  o: { sku: string; after?: bigint | undefined; take: number },
): Promise<MovementRow[]> {
  const ofSku = eq(stockMovements.sku, o.sku);
  return db
    .select()
    .from(stockMovements)
    .where(o.after === undefined ? ofSku : and(ofSku, gt(stockMovements.position, o.after)))
    .orderBy(asc(stockMovements.position))
    .limit(o.take);
}

/** Makes the order's row if there is none, so that there is something to lock: two commands about one order queue up here. */
async function lockReservation(tx: Transaction, orderId: string): Promise<Reservation> {
  const [row] = await tx
    .insert(reservations)
    .values({ orderId, status: 'none' })
    .onConflictDoUpdate({ target: reservations.orderId, set: { orderId } })
    .returning({ status: reservations.status, lines: reservations.lines, parts: reservations.parts });
  if (!row) throw new Error(`The reservation of ${orderId} was neither made nor found`);
  const { status, lines, parts } = row;
  return status === 'reserved' || status === 'committed' ? { status, lines, parts } : { status, parts };
}

async function saveReservation(tx: Transaction, orderId: string, state: Reservation): Promise<void> {
  await tx
    .update(reservations)
    .set({
      status: state.status,
      lines: 'lines' in state ? state.lines : [],
      parts: state.parts,
      updatedAt: sql`now()`,
    })
    .where(eq(reservations.orderId, orderId));
}

/**
 * Locks the stock rows of these lines by SKU and gives what is on hand of each; unknown SKUs are absent. Without
 * the lock two orders would both see the last unit.
 */
async function lockStock(tx: Transaction, lines: readonly StockLine[]): Promise<Map<string, number>> {
  if (lines.length === 0) return new Map();
  const skus = lines.map((line) => line.sku);
  const rows = await tx
    .select({ sku: stock.sku, onHand: stock.onHand })
    .from(stock)
    .where(inArray(stock.sku, skus))
    .orderBy(asc(stock.sku))
    .for('update');
  return new Map(rows.map((row) => [row.sku, row.onHand]));
}

/** Locks the order's row, then the stock rows of the lines in question; without a part only Reserve knows these beforehand. */
async function lockAtStake(
  tx: Transaction,
  command: ReservationCommand,
): Promise<[Reservation, Map<string, number>]> {
  if (command.type === 'Reserve')
    return Promise.all([lockReservation(tx, command.orderId), lockStock(tx, command.lines)]);
  const state = await lockReservation(tx, command.orderId);
  const left = 'lines' in state ? state.lines : [];
  return [state, await lockStock(tx, (command.type === 'Release' && command.part?.lines) || left)];
}

async function moveStockFor(tx: Transaction, event: ReservationEvent): Promise<void> {
  const step = stepOf(event);
  if (step && 'lines' in event) await moveStock(tx, step, event.lines, { orderId: event.orderId });
}

function stepOf(event: ReservationEvent): Step | undefined {
  switch (event.type) {
    case 'StockReserved':
      return { kind: 'reserved', received: 0, onHand: -1, reserved: 1, committed: 0 };
    case 'StockCommitted':
      return { kind: 'committed', received: 0, onHand: 0, reserved: -1, committed: 1 };
    case 'StockReleased':
      return event.from === 'reserved'
        ? { kind: 'released', received: 0, onHand: 1, reserved: -1, committed: 0 }
        : { kind: 'released', received: 0, onHand: 1, reserved: 0, committed: -1 };
    case 'StockRejected':
    case 'PartAwaited':
      return undefined;
  }
}

/** Needs the locks of {@link lockStock}, and lines without duplicates: UPDATE ... FROM takes one of two equal rows. */
async function moveStock(
  tx: Transaction,
  step: Step,
  lines: readonly StockLine[],
  cause: { orderId: string } | { receiptId: string },
): Promise<void> {
  if (lines.length === 0) return;
  const counts = tx.execute(sql`
    update ${stock} as s
    set received = s.received + ${step.received} * line.quantity,
        on_hand = s.on_hand + ${step.onHand} * line.quantity,
        reserved = s.reserved + ${step.reserved} * line.quantity,
        committed = s.committed + ${step.committed} * line.quantity
    from jsonb_to_recordset(${JSON.stringify(lines)}::jsonb) as line(sku text, quantity int)
    where s.sku = line.sku`);
  const movements = tx
    .insert(stockMovements)
    .values(
      lines.map(({ sku, quantity }) => ({ id: newId('mov'), sku, kind: step.kind, quantity, ...cause })),
    );
  await Promise.all([counts, movements]);
}
