import type { StockLine } from '@sidecart/contracts/common';
import { sql } from 'drizzle-orm';
import { bigint, check, index, integer, jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core';
import type { Part } from './reservation.ts';

/** One row per product that products has told of. The last check is the balance of the whole service. */
export const stock = pgTable(
  'stock',
  {
    sku: text().primaryKey(),
    onHand: bigint('on_hand', { mode: 'number' }).notNull().default(0),
    reserved: bigint({ mode: 'number' }).notNull().default(0),
    committed: bigint({ mode: 'number' }).notNull().default(0),
    received: bigint({ mode: 'number' }).notNull().default(0),
  },
  (table) => [
    check('stock_on_hand', sql`${table.onHand} >= 0`),
    check('stock_reserved', sql`${table.reserved} >= 0`),
    check('stock_committed', sql`${table.committed} >= 0`),
    check('stock_balance', sql`${table.received} = ${table.onHand} + ${table.reserved} + ${table.committed}`),
  ],
);

/** What was decided for an order; kept for ever, so that a message that comes again, however late, finds it. */
export const reservations = pgTable(
  'reservations',
  {
    orderId: text('order_id').primaryKey(),
    /** `none` only inside the transaction that decides. */
    status: text({ enum: ['none', 'reserved', 'committed', 'released', 'rejected'] }).notNull(),
    /** What is left of it: without the parts that went back. */
    lines: jsonb().$type<readonly StockLine[]>().notNull().default([]),
    /** What went back, or is to as soon as there is something, each part once by its id. */
    parts: jsonb().$type<readonly Part[]>().notNull().default([]),
    updatedAt: timestamp('updated_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
  },
  (table) => [
    check(
      'reservations_status',
      sql`${table.status} in ('none', 'reserved', 'committed', 'released', 'rejected')`,
    ),
  ],
);

export const receipts = pgTable('receipts', {
  id: text().primaryKey(),
  actor: text().notNull(),
  reference: text(),
  lines: jsonb().$type<readonly StockLine[]>().notNull(),
  receivedAt: timestamp('received_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
});

/**
 * Every change of stock: rows are added, never changed. Written under the lock of the stock row, so the positions
 * of one SKU are in the order in which things happened.
 */
export const stockMovements = pgTable(
  'stock_movements',
  {
    position: bigint({ mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    id: text().notNull(),
    sku: text()
      .notNull()
      .references(() => stock.sku),
    kind: text({ enum: ['received', 'reserved', 'released', 'committed'] }).notNull(),
    quantity: integer().notNull(),
    orderId: text('order_id'),
    receiptId: text('receipt_id'),
    at: timestamp({ withTimezone: true, precision: 3 }).notNull().defaultNow(),
  },
  (table) => [
    index('stock_movements_by_sku').on(table.sku, table.position),
    check('stock_movements_quantity', sql`${table.quantity} > 0`),
    check('stock_movements_cause', sql`num_nonnulls(${table.orderId}, ${table.receiptId}) = 1`),
  ],
);

// biome-ignore lint/performance/noBarrelFile: drizzle-kit makes the migrations of a service from this one file
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
