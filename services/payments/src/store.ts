import { currentContext } from '@sidecart/kit/context';
import type { Database, Executor, Transaction } from '@sidecart/kit/db';
import { DomainError } from '@sidecart/kit/domain-error';
import { newId } from '@sidecart/kit/ids';
import { and, asc, desc, eq, inArray, lt, type SQL, sql } from 'drizzle-orm';
import {
  evolve,
  idempotencyKey,
  type Operation,
  type OperationId,
  type Payment,
  type PaymentEvent,
} from './payment.ts';
import { paymentOperations, payments } from './schema.ts';

// The row of the payment is always locked before rows of its operations; the worker that claims operations locks no payment, and waits
// for nobody.

export type PaymentRow = typeof payments.$inferSelect;
export type OperationRow = typeof paymentOperations.$inferSelect;

/** Whose payment it is. */
export interface PaymentOf {
  paymentId: string;
  orderId: string;
}

/**
 * Decides about the payment of one order with its row locked, and stores what was decided. `publish` gets the events, none when the
 * command changes nothing; what it writes goes out together with the rest.
 */
export async function updatePayment(
  tx: Transaction,
  orderId: string,
  decide: (state: Payment) => PaymentEvent[],
  publish: (payment: PaymentOf, events: PaymentEvent[]) => Promise<void>,
): Promise<PaymentEvent[]> {
  const row = await lockPayment(tx, orderId);
  const operations = await tx
    .select()
    .from(paymentOperations)
    .where(eq(paymentOperations.paymentId, row.id))
    .orderBy(asc(paymentOperations.position));
  const state: Payment = { ...row, operations: operations.map(toOperation) };
  const events = decide(state);
  if (events.length === 0) return events;
  const payment = { paymentId: row.id, orderId };
  // First the payment: operations refer to it.
  await savePayment(tx, row.id, events.reduce(evolve, state), events);
  for (const event of events) await saveOperation(tx, payment, event);
  await publish(payment, events);
  return events;
}

/** An operation that the provider is to be asked for, with what it needs to know. */
export interface ClaimedOperation extends OperationRow {
  authorisationId: string | null;
}

/**
 * Claims operations that are due, for `leaseMs` by the database's clock: until then no other worker asks for them. One whose worker
 * died is due again after that. None is claimed by two at once: rows that another looks at are skipped.
 */
export async function claimOperations(
  db: Executor,
  o: { leaseMs: number; limit: number },
): Promise<ClaimedOperation[]> {
  const claimed = await db
    .update(paymentOperations)
    .set({
      dueAt: sql`now() + ${o.leaseMs} * interval '1 ms'`,
      attempts: sql`${paymentOperations.attempts} + 1`,
    })
    .where(
      inArray(
        paymentOperations.key,
        db
          .select({ key: paymentOperations.key })
          .from(paymentOperations)
          .where(and(eq(paymentOperations.state, 'pending'), sql`${paymentOperations.dueAt} <= now()`))
          .orderBy(asc(paymentOperations.dueAt))
          .limit(o.limit)
          .for('update', { skipLocked: true }),
      ),
    )
    .returning();
  if (claimed.length === 0) return [];
  const holders = await db
    .select({ id: payments.id, authorisationId: payments.authorisationId })
    .from(payments)
    .where(
      inArray(
        payments.id,
        claimed.map(({ paymentId }) => paymentId),
      ),
    );
  const held = new Map(holders.map(({ id, authorisationId }) => [id, authorisationId]));
  return claimed.map((row) => ({ ...row, authorisationId: held.get(row.paymentId) ?? null }));
}

/** Has the operation asked for again after `ms`, unless it was settled, or claimed by another, since this attempt. */
export async function postponeOperation(
  db: Executor,
  { key, attempts }: Pick<OperationRow, 'key' | 'attempts'>,
  ms: number,
): Promise<void> {
  await db
    .update(paymentOperations)
    .set({ dueAt: sql`now() + ${ms} * interval '1 ms'` })
    .where(
      and(
        eq(paymentOperations.key, key),
        eq(paymentOperations.state, 'pending'),
        eq(paymentOperations.attempts, attempts),
      ),
    );
}

export async function findOperation(db: Executor, key: string): Promise<OperationRow | undefined> {
  const [row] = await db.select().from(paymentOperations).where(eq(paymentOperations.key, key));
  return row;
}

/** What waits for the provider: how many, and for how long the oldest that it was asked for in vain. */
export async function pendingOperations(db: Executor): Promise<{ count: number; oldestSeconds: number }> {
  const [row] = await db
    .select({
      count: sql<number>`count(*)::int`,
      oldestSeconds: sql<number>`coalesce(extract(epoch from now() - min(${paymentOperations.requestedAt}) filter (where ${paymentOperations.attempts} > 0)), 0)::float8`,
    })
    .from(paymentOperations)
    .where(eq(paymentOperations.state, 'pending'));
  return row ?? { count: 0, oldestSeconds: 0 };
}

/** A payment with all that was asked for it, oldest first. */
export interface FullPayment {
  payment: PaymentRow;
  operations: OperationRow[];
}

/** Throws DomainError `not_found`. */
export async function requirePayment(db: Database['db'], id: string): Promise<FullPayment> {
  const [found] = await readPayments(db, eq(payments.id, id), 1);
  if (!found) throw new DomainError('not-found', 'not_found', { id });
  return found;
}

/** Newest first; `before` is the last id of the page before. */
export function listPayments(
  db: Database['db'],
  o: { orderId?: string | undefined; before?: string | undefined; take: number },
): Promise<FullPayment[]> {
  const ofOrder = o.orderId === undefined ? undefined : eq(payments.orderId, o.orderId);
  const older = o.before === undefined ? undefined : lt(payments.id, o.before);
  return readPayments(db, and(ofOrder, older), o.take);
}

/** Payments and their operations as of one moment: what one says of the other has to be true. */
function readPayments(db: Database['db'], where: SQL | undefined, take: number): Promise<FullPayment[]> {
  return db.transaction(
    async (tx) => {
      const rows = await tx.select().from(payments).where(where).orderBy(desc(payments.id)).limit(take);
      return withOperations(tx, rows);
    },
    { isolationLevel: 'repeatable read', accessMode: 'read only' },
  );
}

async function withOperations(db: Executor, rows: PaymentRow[]): Promise<FullPayment[]> {
  if (rows.length === 0) return [];
  const operations = await db
    .select()
    .from(paymentOperations)
    .where(
      inArray(
        paymentOperations.paymentId,
        rows.map(({ id }) => id),
      ),
    )
    .orderBy(asc(paymentOperations.position));
  const byPayment = Map.groupBy(operations, ({ paymentId }) => paymentId);
  return rows.map((payment) => ({ payment, operations: byPayment.get(payment.id) ?? [] }));
}

/** Makes the order's row if there is none, so that there is something to lock: two about one order queue up here. */
async function lockPayment(tx: Transaction, orderId: string): Promise<PaymentRow> {
  const [row] = await tx
    .insert(payments)
    .values({ id: newId('pay'), orderId, status: 'none' })
    .onConflictDoUpdate({ target: payments.orderId, set: { orderId } })
    .returning();
  if (!row) throw new Error(`The payment of ${orderId} was neither made nor found`);
  return row;
}

async function savePayment(
  tx: Transaction,
  id: string,
  state: Payment,
  events: PaymentEvent[],
): Promise<void> {
  const { status, authorised, captured, refunded, voidPostponed } = state;
  const held = events.find((event) => event.type === 'PaymentAuthorised');
  await tx
    .update(payments)
    .set({
      ...{ status, authorised, captured, refunded, voidPostponed },
      ...(held && { authorisationId: held.authorisationId }),
      updatedAt: sql`now()`,
    })
    .where(eq(payments.id, id));
}

async function saveOperation(tx: Transaction, payment: PaymentOf, event: PaymentEvent): Promise<void> {
  if (!('operation' in event) || !event.operation) return;
  const key = idempotencyKey(payment.orderId, event.operation);
  const { kind, refundId, ask } = event.operation;
  const base = { key, ...payment, kind, ask, refundId: refundId ?? null };
  if (event.type === 'OperationAsked') {
    const context = currentContext() ?? null;
    const { amount, token = null } = event;
    await tx.insert(paymentOperations).values({ ...base, amount, token, state: 'pending', context });
    return;
  }
  const outcome = {
    state: 'reason' in event ? ('refused' as const) : ('succeeded' as const),
    reason: 'reason' in event ? event.reason : null,
    settledAt: sql`now()`,
    token: null,
  };
  // One that is refused without asking has no row yet.
  await tx
    .insert(paymentOperations)
    .values({ ...base, amount: 'amount' in event ? event.amount : 0, ...outcome })
    .onConflictDoUpdate({ target: paymentOperations.key, set: outcome });
}

/** As the rules know it. */
export function toOperation({ kind, refundId, ask, amount, state }: OperationRow): Operation {
  return { ...operationId({ kind, refundId, ask }), amount, state };
}

export function operationId({
  kind,
  refundId,
  ask,
}: Pick<OperationRow, 'kind' | 'refundId' | 'ask'>): OperationId {
  return { kind, ask, ...(refundId !== null && { refundId }) };
}
