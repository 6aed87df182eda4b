import { z } from 'zod';

/** A stock keeping unit. Case matters: `15056bl` and `15056BL` are two products. */
export const Sku = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/,
    'Expected 1 to 40 letters, digits, dots, underscores or hyphens',
  )
  .meta({ id: 'Sku', description: 'Stock keeping unit; case matters.', example: '85123A' });

/** A number of pieces. */
export const Quantity = z
  .int()
  .min(1)
  .max(100_000)
  .meta({ id: 'Quantity', description: 'A number of pieces.', example: 6 });

/**
 * One line of text from a client. Control characters and lone surrogates are refused here because
 * PostgreSQL cannot store them: they would come back as an internal error.
 */
export function text(maxLength: number) {
  return z
    .string()
    .min(1)
    .max(maxLength)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'Expected text without control characters')
    .regex(/\S/, 'Expected more than spaces');
}

/** Who an order is for, as the shop's owner numbers customers. */
export const CustomerId = z
  .string()
  .regex(/^[\x21-\x7e]{1,64}$/, 'Expected 1 to 64 visible ASCII characters')
  .meta({ id: 'CustomerId', example: '17850' });

/** A day, without time or zone. Years before 1900 are typing mistakes, and year 0 is none to PostgreSQL. */
export const CalendarDate = z.iso
  .date()
  .refine((day) => day >= '1900-01-01', 'Expected a day from 1900-01-01 on')
  .meta({ id: 'CalendarDate', description: 'A day, YYYY-MM-DD, from 1900-01-01 on.', example: '2026-03-14' });

/** An instant: RFC 3339, UTC, milliseconds. */
export const Timestamp = z.iso
  .datetime()
  .meta({ id: 'Timestamp', description: 'RFC 3339, UTC.', example: '2026-03-14T09:26:53.589Z' });

export const OrderId = prefixedId('ord', 'OrderId', 'The id of an order.');
export const ReceiptId = prefixedId('rcp', 'ReceiptId', 'The id of a receipt of stock.');
export const MovementId = prefixedId('mov', 'MovementId', 'The id of a stock movement.');

export const PaymentId = prefixedId('pay', 'PaymentId', 'The id of a payment.');
export const RefundId = prefixedId('rfd', 'RefundId', 'The id of a refund.');
export const ShipmentId = prefixedId('shp', 'ShipmentId', 'The id of a shipment.');
export const PackageId = prefixedId('pkg', 'PackageId', 'The id of a package.');
export const AmendmentId = prefixedId('amd', 'AmendmentId', 'The id of a change to an order.');

/** Some pieces of one product, as events and commands carry them. */
export const StockLine = z
  .object({ sku: Sku, quantity: Quantity })
  .meta({ id: 'StockLine', description: 'Some pieces of one product.' });
export type StockLine = z.infer<typeof StockLine>;

/**
 * The lines whose product an earlier line has, each as a fault with its place in `lines`. No part of the schemas: a service answers
 * it with a code and a cure of its own, and JSON Schema cannot say it.
 */
export function duplicateLines(lines: readonly Pick<StockLine, 'sku'>[]) {
  const seen = new Set<string>();
  return lines.flatMap(({ sku }, index) => {
    if (!seen.has(sku)) {
      seen.add(sku);
      return [];
    }
    const detail = `${sku} is on an earlier line; add the quantities up`;
    return [{ pointer: `/lines/${index}/sku`, code: 'duplicate_line', detail }];
  });
}

/** A line that stock did not suffice for. */
export const ShortLine = z
  .object({ sku: Sku, requested: Quantity, available: z.int().min(0) })
  .meta({ id: 'ShortLine', description: 'A line that stock did not suffice for.' });
export type ShortLine = z.infer<typeof ShortLine>;

function prefixedId(prefix: string, id: string, description: string) {
  return z
    .string()
    .regex(
      new RegExp(`^${prefix}_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`),
      `Expected ${prefix}_ and a UUID in lower case`,
    )
    .meta({ id, description, example: `${prefix}_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42` });
}
