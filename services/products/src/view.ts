import type { PriceEntry, Product, QuoteItem } from '@sidecart/contracts/products';
import type { PriceRow, ProductRow } from './store.ts';

export function toProductView(row: ProductRow): Product {
  return { ...toQuote(row), updated_at: row.updatedAt.toISOString() };
}

export function toQuote(row: ProductRow): QuoteItem {
  return {
    sku: row.sku,
    name: row.name,
    status: row.status,
    unit_price: { amount: row.unitPrice, currency: row.currency },
    version: row.version,
  };
}

export function toPriceEntry(row: PriceRow): PriceEntry {
  return {
    effective_on: row.effectiveOn,
    unit_price: { amount: row.unitPrice, currency: row.currency },
    version: row.version,
    recorded_at: row.recordedAt.toISOString(),
  };
}
