import type { StockLine } from '@sidecart/contracts/common';
import { sql } from 'drizzle-orm';
import { check, index, jsonb, pgTable, text, timestamp, uniqueIndex } from 'drizzle-orm/pg-core';
import type { Package } from './shipment.ts';

/**
 * One row per order that shipping has heard of, kept for ever, so that a message that comes again, however late, finds it. It has
 * an id from CreateShipment on; one without was amended or cancelled ahead of that.
 */
export const shipments = pgTable(
  'shipments',
  {
    orderId: text('order_id').primaryKey(),
    id: text(),
    /** `none` until there is a shipment. */
    status: text({
      enum: ['none', 'preparing', 'handed_over', 'delivered', 'lost', 'cancelled'],
    }).notNull(),
    lines: jsonb().$type<readonly StockLine[]>().notNull().default([]),
    packages: jsonb().$type<readonly Package[]>().notNull().default([]),
    amendments: jsonb().$type<readonly string[]>().notNull().default([]),
    carrier: text(),
    tracking: text(),
    createdAt: timestamp('created_at', { withTimezone: true, precision: 3 }),
    updatedAt: timestamp('updated_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
  },
  (table) => [
    uniqueIndex('shipments_id').on(table.id),
    index('shipments_by_status').on(table.status, table.id),
    check(
      'shipments_status',
      sql`${table.status} in ('none', 'preparing', 'handed_over', 'delivered', 'lost', 'cancelled')`,
    ),
    check('shipments_id', sql`${table.id} is not null or ${table.status} in ('none', 'cancelled')`),
    check('shipments_created_at', sql`(${table.createdAt} is null) = (${table.id} is null)`),
    check(
      'shipments_carrier',
      sql`(${table.carrier} is not null) = (${table.status} in ('handed_over', 'delivered', 'lost'))`,
    ),
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
