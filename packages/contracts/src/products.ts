import { z } from 'zod';
import { CalendarDate, Sku, Timestamp, text } from './common.ts';
import { Money, UnitPrice } from './money.ts';

/** Steps of a product's history, counted from 1; every change, also of a past price, is one. */
const version = z.int().min(1);

const name = text(200).meta({ example: 'White hanging heart T-light holder' });

// What clients send: an unknown field is a mistake.

export const NewProduct = z
  .strictObject({ sku: Sku, name, unit_price: UnitPrice, effective_on: CalendarDate.optional() })
  .meta({ id: 'NewProduct' });
export type NewProduct = z.infer<typeof NewProduct>;

export const NewPrice = z
  .strictObject({ unit_price: UnitPrice, effective_on: CalendarDate.optional() })
  .meta({ id: 'NewPrice' });
export type NewPrice = z.infer<typeof NewPrice>;

export const QuoteRequest = z
  .strictObject({ skus: z.array(Sku).min(1).max(500) })
  .meta({ id: 'QuoteRequest' });
export type QuoteRequest = z.infer<typeof QuoteRequest>;

// What clients get.

export const ProductStatus = z.enum(['active', 'retired']).meta({ id: 'ProductStatus' });

export const Product = z
  .object({
    sku: Sku,
    name: z.string(),
    status: ProductStatus,
    unit_price: Money,
    version,
    updated_at: Timestamp,
  })
  .meta({ id: 'Product' });
export type Product = z.infer<typeof Product>;

export const PriceSet = z
  .object({ product: Product, changed: z.boolean() })
  .meta({ id: 'PriceSet', description: '`changed` is false when that day already had this price.' });
export type PriceSet = z.infer<typeof PriceSet>;

export const PriceEntry = z
  .object({ effective_on: CalendarDate, unit_price: Money, version, recorded_at: Timestamp })
  .meta({ id: 'PriceEntry' });
export type PriceEntry = z.infer<typeof PriceEntry>;

export const PriceHistory = z.object({ items: z.array(PriceEntry) }).meta({ id: 'PriceHistory' });
export type PriceHistory = z.infer<typeof PriceHistory>;

export const QuoteItem = z
  .object({ sku: Sku, name: z.string(), status: ProductStatus, unit_price: Money, version })
  .meta({ id: 'QuoteItem' });
export type QuoteItem = z.infer<typeof QuoteItem>;

export const Quotes = z.object({ items: z.array(QuoteItem), unknown: z.array(Sku) }).meta({ id: 'Quotes' });
export type Quotes = z.infer<typeof Quotes>;

// Facts that products publishes. Readers ignore fields that they do not know.

export const ProductCreated = z
  .object({ sku: Sku, name: z.string(), unit_price: Money, effective_on: CalendarDate, version })
  .meta({ id: 'ProductCreated', description: 'A product is for sale.' });
export type ProductCreated = z.infer<typeof ProductCreated>;

export const ProductPriceChanged = z
  .object({
    sku: Sku,
    unit_price: Money.meta({ description: 'The price from `effective_on` on.' }),
    previous: Money.meta({ description: 'The current price before this change.' }),
    effective_on: CalendarDate,
    is_current: z.boolean().meta({ description: 'False when a later day already has its own price.' }),
    version,
  })
  .meta({ id: 'ProductPriceChanged', description: 'A price was recorded, for today or for a past day.' });
export type ProductPriceChanged = z.infer<typeof ProductPriceChanged>;

export const ProductRetired = z
  .object({ sku: Sku, version })
  .meta({ id: 'ProductRetired', description: 'A product is no longer for sale.' });
export type ProductRetired = z.infer<typeof ProductRetired>;
