import { sql } from 'drizzle-orm';
import {
  bigint,
  check,
  date,
  index,
  integer,
  pgTable,
  primaryKey,
  text,
  timestamp,
} from 'drizzle-orm/pg-core';

export const products = pgTable(
  'products',
  {
    sku: text().primaryKey(),
    name: text().notNull(),
    status: text({ enum: ['active', 'retired'] }).notNull(),
    version: integer().notNull(),
    /** The current price: of the row in product_prices with the greatest (effective_on, version). */
    unitPrice: bigint('unit_price', { mode: 'number' }).notNull(),
    currency: text({ enum: ['GBP'] }).notNull(),
    effectiveOn: date('effective_on').notNull(),
    updatedAt: timestamp('updated_at', { withTimezone: true, precision: 3 }).notNull(),
  },
  (table) => [
    check('products_status', sql`${table.status} in ('active', 'retired')`),
    check('products_unit_price', sql`${table.unitPrice} > 0`),
  ],
);

/** The history of prices: rows are added, never changed. The price of a day is its row with the greatest version. */
export const productPrices = pgTable(
  'product_prices',
  {
    sku: text()
      .notNull()
      .references(() => products.sku),
    effectiveOn: date('effective_on').notNull(),
    version: integer().notNull(),
    unitPrice: bigint('unit_price', { mode: 'number' }).notNull(),
    currency: text({ enum: ['GBP'] }).notNull(),
    recordedAt: timestamp('recorded_at', { withTimezone: true, precision: 3 }).notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.sku, table.version] }),
    index('product_prices_by_day').on(table.sku, table.effectiveOn, table.version),
    check('product_prices_unit_price', sql`${table.unitPrice} > 0`),
  ],
);

// biome-ignore lint/performance/noBarrelFile: drizzle-kit makes the migrations of a service from this one file
export {
  deadLetter,
  inbox,
  outbox,
  outboxDelayed,
  outboxLocal,
  outboxSequence,
} from '@sidecart/messaging/schema';
