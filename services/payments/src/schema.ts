import type { RequestContext } from '@sidecart/kit/context';
import { sql } from 'drizzle-orm';
import { bigint, boolean, check, index, integer, jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core';

/** One row per order, kept for ever: a message that comes again, however late, finds it. Amounts are minor units. */
export const payments = pgTable(
  'payments',
  {
    id: text().primaryKey(),
    orderId: text('order_id').notNull().unique(),
    /** `none` only inside the transaction that decides. */
    status: text({
      enum: ['none', 'authorising', 'authorised', 'declined', 'capturing', 'captured', 'voiding', 'voided'],
    }).notNull(),
    authorised: bigint({ mode: 'number' }).notNull().default(0),
    captured: bigint({ mode: 'number' }).notNull().default(0),
    refunded: bigint({ mode: 'number' }).notNull().default(0),
    voidPostponed: boolean('void_postponed').notNull().default(false),
    /** The provider's name for the money that it holds. */
    authorisationId: text('authorisation_id'),
    createdAt: timestamp('created_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
    updatedAt: timestamp('updated_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
  },
  (table) => [
    check(
      'payments_status',
      sql`${table.status} in ('none', 'authorising', 'authorised', 'declined', 'capturing', 'captured', 'voiding', 'voided')`,
    ),
    check(
      'payments_balance',
      sql`0 <= ${table.refunded} and ${table.refunded} <= ${table.captured} and ${table.captured} <= ${table.authorised}`,
    ),
  ],
);

/** Everything that was asked of the provider, or refused without asking. */
export const paymentOperations = pgTable(
  'payment_operations',
  {
    /** The idempotency key: the provider knows the operation by it, and it never changes. */
    key: text().primaryKey(),
    position: bigint({ mode: 'bigint' }).notNull().generatedAlwaysAsIdentity(),
    paymentId: text('payment_id')
      .notNull()
      .references(() => payments.id),
    orderId: text('order_id').notNull(),
    kind: text({ enum: ['authorise', 'capture', 'void', 'refund'] }).notNull(),
    refundId: text('refund_id'),
    ask: integer().notNull(),
    amount: bigint({ mode: 'number' }).notNull(),
    /** What to pay with, for as long as it is needed. */
    token: text(),
    state: text({ enum: ['pending', 'succeeded', 'refused'] }).notNull(),
    reason: text(),
    /** How often the provider was asked. */
    attempts: integer().notNull().default(0),
    /** Of a pending one: when to ask next. A worker that asks moves it on first, by as long as it may take. */
    dueAt: timestamp('due_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
    /** Of the message that asked: the fact about the outcome belongs to the same conversation. */
    context: jsonb().$type<RequestContext>(),
    requestedAt: timestamp('requested_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
    settledAt: timestamp('settled_at', { withTimezone: true, precision: 3 }),
  },
  (table) => [
    index('payment_operations_due').on(table.dueAt).where(sql`${table.state} = 'pending'`),
    index('payment_operations_of').on(table.paymentId, table.position),
    check('payment_operations_kind', sql`${table.kind} in ('authorise', 'capture', 'void', 'refund')`),
    check('payment_operations_state', sql`${table.state} in ('pending', 'succeeded', 'refused')`),
    check('payment_operations_settled', sql`(${table.state} = 'pending') = (${table.settledAt} is null)`),
    check('payment_operations_refund', sql`(${table.kind} = 'refund') = (${table.refundId} is not null)`),
    check('payment_operations_amount', sql`${table.amount} >= 0`),
  ],
);

// biome-ignore lint/performance/noBarrelFile: drizzle-kit makes the migrations of a service from this one file
export {
  consumerRun,
  deadLetter,
  deadLetterAction,
  inbox,
  inboxFailing,
  inboxKey,
  inboxParked,
  inboxStart,
  outbox,
  outboxDelayed,
  outboxLocal,
  outboxSequence,
  repairCursor,
  repairMissing,
} from '@sidecart/messaging/schema';
