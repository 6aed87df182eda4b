import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  date,
  index,
  integer,
  json,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
} from 'drizzle-orm/pg-core';
import type { Order } from './order-state.ts';

// What orders is, is in its events (see @sidecart/event-sourcing/schema below); these are read models of them, thrown away and made anew
// at will. `generation` is the one that the projection writes; which one is read says the table subscriptions.

/** The customers' order history and the lists. */
export const orderSummary = pgTable(
  'order_summary',
  {
    generation: integer().notNull(),
    id: text().notNull(),
    status: text({
      enum: ['placed', 'confirmed', 'shipped', 'delivered', 'rejected', 'cancelled', 'lost'],
    }).notNull(),
    customerId: text('customer_id'),
    /** A person is needed. */
    attention: boolean().notNull(),
    placedAt: timestamp('placed_at', { withTimezone: true, precision: 3 }).notNull(),
    updatedAt: timestamp('updated_at', { withTimezone: true, precision: 3 }).notNull(),
    /** As of the last event done. `json`: nothing but this service reads it, and always whole. */
    state: json().$type<Order>().notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.generation, table.id] }),
    index('order_summary_by_status').on(table.generation, table.status, table.id),
    index('order_summary_by_customer').on(table.generation, table.customerId, table.id),
    index('order_summary_attention').on(table.generation, table.id).where(sql`${table.attention}`),
    check(
      'order_summary_status',
      sql`${table.status} in ('placed', 'confirmed', 'shipped', 'delivered', 'rejected', 'cancelled', 'lost')`,
    ),
  ],
);

/** The seller's dashboard: what happened on each day (UTC). */
export const orderDay = pgTable(
  'order_day',
  {
    generation: integer().notNull(),
    day: date({ mode: 'string' }).notNull(),
    /** Orders placed. */
    placed: integer().notNull(),
    /** Pieces of the orders that left and were paid. */
    unitsShipped: bigint('units_shipped', { mode: 'number' }).notNull(),
    /** Pence taken, and pence given back. */
    takings: bigint({ mode: 'number' }).notNull(),
    refunded: bigint({ mode: 'number' }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.generation, table.day] })],
);

// The tables of the release before. What was in them has become streams (migration 0005); nobody reads or writes them any more, and
// they are dropped in a later release, so that until then what was in them can be looked up.

export const orders = pgTable(
  'orders',
  {
    id: text().primaryKey(),
    status: text({ enum: ['placed', 'confirmed', 'rejected', 'cancelled'] }).notNull(),
    actor: text().notNull(),
    customerId: text('customer_id'),
    totalAmount: bigint('total_amount', { mode: 'number' }).notNull(),
    currency: text({ enum: ['GBP'] }).notNull(),
    placedAt: timestamp('placed_at', { withTimezone: true, precision: 3 }).notNull(),
    updatedAt: timestamp('updated_at', { withTimezone: true, precision: 3 }).notNull(),
    shortLines: jsonb('short_lines'),
    cancelReason: text('cancel_reason'),
  },
  (table) => [
    index('orders_by_status').on(table.status, table.id),
    check('orders_status', sql`${table.status} in ('placed', 'confirmed', 'rejected', 'cancelled')`),
    check('orders_total', sql`${table.totalAmount} >= 0`),
    check('orders_short_lines', sql`(${table.shortLines} is not null) = (${table.status} = 'rejected')`),
  ],
);

export const orderLines = pgTable(
  'order_lines',
  {
    orderId: text('order_id')
      .notNull()
      .references(() => orders.id),
    position: integer().notNull(),
    sku: text().notNull(),
    quantity: integer().notNull(),
    unitPrice: bigint('unit_price', { mode: 'number' }).notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.orderId, table.position] }),
    check('order_lines_quantity', sql`${table.quantity} > 0`),
    check('order_lines_unit_price', sql`${table.unitPrice} >= 0`),
  ],
);

// biome-ignore lint/performance/noBarrelFile: drizzle-kit makes the migrations of a service from this one file
export { events, eventsArchive, snapshots, streams, subscriptions } from '@sidecart/event-sourcing/schema';
export { idempotencyKeys } from '@sidecart/kit/idempotency';
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
