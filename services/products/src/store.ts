import type { Money } from '@sidecart/contracts/money';
import type { Executor, Transaction } from '@sidecart/kit/db';
import { DomainError } from '@sidecart/kit/domain-error';
import { and, asc, desc, eq, gt, inArray } from 'drizzle-orm';
import type { Price, Product, ProductCreated, ProductPriceChanged, ProductRetired } from './product.ts';
import { productPrices, products } from './schema.ts';

type ProductChange = ProductPriceChanged | ProductRetired;
export type ProductRow = typeof products.$inferSelect;
export type PriceRow = typeof productPrices.$inferSelect;

/** Stores a new product; nothing when the SKU is taken, also by a transaction that commits at this moment. */
export async function insertProduct(tx: Transaction, event: ProductCreated): Promise<ProductRow | undefined> {
  const [row] = await tx
    .insert(products)
    .values({
      sku: event.sku,
      name: event.name,
      status: 'active',
      version: event.version,
      ...priceColumns(event.price),
      updatedAt: new Date(event.at),
    })
    .onConflictDoNothing()
    .returning();
  if (row) await insertPrice(tx, event);
  return row;
}

/**
 * Decides about one product with its row locked, and stores what was decided: two changes at once get two
 * versions. Throws DomainError `not_found`.
 */
export async function updateProduct<E extends ProductChange>(
  tx: Transaction,
  sku: string,
  decide: (product: Product) => Promise<E[]> | E[],
): Promise<{ row: ProductRow; events: E[] }> {
  const [found] = await tx.select().from(products).where(eq(products.sku, sku)).for('update');
  if (!found) throw new DomainError('not-found', 'not_found', { sku });
  const events = await decide(toProduct(found));
  let row = found;
  for (const event of events) row = await apply(tx, row, event);
  return { row, events };
}

/** Throws DomainError `not_found`. */
export async function requireProduct(db: Executor, sku: string): Promise<ProductRow> {
  const [row] = await db.select().from(products).where(eq(products.sku, sku));
  if (!row) throw new DomainError('not-found', 'not_found', { sku });
  return row;
}

export function findProducts(db: Executor, skus: readonly string[]): Promise<ProductRow[]> {
  return db
    .select()
    .from(products)
    .where(inArray(products.sku, [...skus]));
}

/** By SKU; `after` is the last SKU of the page before. */
export function listProducts(
  db: Executor,
  o: { after?: string | undefined; take: number },
): Promise<ProductRow[]> {
  return db
    .select()
    .from(products)
    .where(o.after === undefined ? undefined : gt(products.sku, o.after))
    .orderBy(asc(products.sku))
    .limit(o.take);
}

/** By day, and for one day in the order of recording: the last one is the current price. */
export function listPrices(db: Executor, sku: string): Promise<PriceRow[]> {
  return db
    .select()
    .from(productPrices)
    .where(eq(productPrices.sku, sku))
    .orderBy(asc(productPrices.effectiveOn), asc(productPrices.version));
}

/** The price recorded for exactly this day, if any. */
export async function findPriceOfDay(db: Executor, sku: string, day: string): Promise<Money | undefined> {
  const [row] = await db
    .select({ amount: productPrices.unitPrice, currency: productPrices.currency })
    .from(productPrices)
    .where(and(eq(productPrices.sku, sku), eq(productPrices.effectiveOn, day)))
    .orderBy(desc(productPrices.version))
    .limit(1);
  return row;
}

/** The price with which the product was created. */
export async function findFirstPrice(db: Executor, sku: string): Promise<Price | undefined> {
  const [row] = await db
    .select()
    .from(productPrices)
    .where(and(eq(productPrices.sku, sku), eq(productPrices.version, 1)));
  return (
    row && { unitPrice: { amount: row.unitPrice, currency: row.currency }, effectiveOn: row.effectiveOn }
  );
}

export function toProduct(row: ProductRow): Product {
  return {
    sku: row.sku,
    name: row.name,
    status: row.status,
    version: row.version,
    current: {
      unitPrice: { amount: row.unitPrice, currency: row.currency },
      effectiveOn: row.effectiveOn,
    },
  };
}

async function apply(tx: Transaction, row: ProductRow, event: ProductChange): Promise<ProductRow> {
  const change = { version: event.version, updatedAt: new Date(event.at) };
  switch (event.type) {
    case 'ProductPriceChanged':
      await insertPrice(tx, event);
      return updateRow(tx, row, { ...change, ...(event.isCurrent ? priceColumns(event.price) : {}) });
    case 'ProductRetired':
      return updateRow(tx, row, { ...change, status: 'retired' });
  }
}

async function updateRow(tx: Transaction, row: ProductRow, change: Partial<ProductRow>): Promise<ProductRow> {
  await tx.update(products).set(change).where(eq(products.sku, row.sku));
  return { ...row, ...change };
}

async function insertPrice(
  tx: Transaction,
  event: { sku: string; price: Price; version: number; at: string },
): Promise<void> {
  await tx.insert(productPrices).values({
    sku: event.sku,
    version: event.version,
    ...priceColumns(event.price),
    recordedAt: new Date(event.at),
  });
}

function priceColumns(price: Price) {
  return {
    unitPrice: price.unitPrice.amount,
    currency: price.unitPrice.currency,
    effectiveOn: price.effectiveOn,
  };
}
