import type { ShortLine } from '@sidecart/contracts/common';
import { sql } from 'drizzle-orm';
import {
  bigint,
  check,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
} from 'drizzle-orm/pg-core';

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
    /** The lines at fault; set exactly when rejected. */
    shortLines: jsonb('short_lines').$type<readonly ShortLine[]>(),
    cancelReason: text('cancel_reason'),
  },
  (table) => [
    index('orders_by_status').on(table.status, table.id),
    check('orders_status', sql`${table.status} in ('placed', 'confirmed', 'rejected', 'cancelled')`),
    check('orders_total', sql`${table.totalAmount} >= 0`),
    check('orders_short_lines', sql`(${table.shortLines} is not null) = (${table.status} = 'rejected')`),
  ],
);

/** Written with the order and never changed. */
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
export { idempotencyKeys } from '@sidecart/kit/idempotency';
export {
  consumerRun,
  deadLetter,
  deadLetterAction,
  inbox,
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
