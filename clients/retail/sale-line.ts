import { CalendarDate, CustomerId, Quantity, Sku } from '@sidecart/contracts/common';
import { UnitPrice } from '@sidecart/contracts/money';
import { NewProduct } from '@sidecart/contracts/products';
import { z } from 'zod';
import { parsePence } from './pence.ts';
import type { ReadableRecord } from './records.ts';

/** The columns of a retailer's file that are read; others are ignored. */
export const COLUMNS = {
  invoice: 'InvoiceNo',
  code: 'StockCode',
  description: 'Description',
  quantity: 'Quantity',
  date: 'InvoiceDate',
  price: 'UnitPrice',
  customer: 'CustomerID',
} as const;

/** A line that names goods, how many, when and at what price. */
export interface SaleLine {
  /** Number of the line in the file. */
  line: number;
  invoice: string;
  /** `YYYY-MM-DD HH:MM:SS`, as the retailer's clock showed it. */
  soldAt: string;
  customer: string | undefined;
  sku: string;
  name: string;
  /** Negative for goods that came back. */
  quantity: number;
  /** Of one piece, in pence. */
  price: number;
}

/** A line that cannot be a sale of goods, with what could be read of it. */
export interface FaultyLine {
  line: number;
  invoice: string | undefined;
  soldAt: string | undefined;
  customer: string | undefined;
  quantity: number | undefined;
  /** At least one, in the order of FAULTS. */
  faults: Fault[];
}

/** What a line may lack. The words have no comma or quote in them, so that they can stand in a CSV file as they are. */
export type Fault = (typeof FAULTS)[number];

export const FAULTS = [
  'no goods',
  'no description',
  'description that cannot be a name',
  'no positive price',
  'price that is no number',
  'fraction of a penny',
  'price above a million pounds',
  'no quantity',
  'quantity that is no whole number',
  'quantity above 100000',
  'no date as YYYY-MM-DD HH:MM:SS',
  'date before 1900 or in the future',
  'no invoice number',
] as const;

/**
 * What counts as goods: five digits and any letters behind them (`85123A`, `15056BL`), or one of the few other
 * patterns of this retailer's goods: DCGS..., SP and four digits, PADS. All else (`POST`, `M`, `D`, `BANK CHARGES`,
 * `AMAZONFEE`, `gift_0001_20`) is postage, fees, corrections and vouchers.
 */
const GOODS = /^(?:\d{5}[A-Za-z]*|DCGS[0-9A-Z]+|SP\d{4}|PADS)$/;

/** Reads one record. `today` (YYYY-MM-DD) is the last day a line may be of. */
export function readSaleLine(record: ReadableRecord, today: string): SaleLine | FaultyLine {
  const field = (column: string) => (record.fields[column] ?? '').trim();
  const sku = field(COLUMNS.code);
  const name = field(COLUMNS.description).replace(/\s+/g, ' ');
  const price = readPrice(field(COLUMNS.price));
  const quantity = readQuantity(field(COLUMNS.quantity));
  const date = readDate(field(COLUMNS.date), today);
  const invoice = field(COLUMNS.invoice);

  const faults: Fault[] = [];
  if (!GOODS.test(sku) || !Sku.safeParse(sku).success) faults.push('no goods');
  if (name === '') faults.push('no description');
  else if (!NewProduct.shape.name.safeParse(name).success) faults.push('description that cannot be a name');
  if ('fault' in price) faults.push(price.fault);
  if ('fault' in quantity) faults.push(quantity.fault);
  if ('fault' in date) faults.push(date.fault);
  const invoiceReadable = /^[\x21-\x7e]{1,40}$/.test(invoice);
  if (!invoiceReadable) faults.push('no invoice number');

  const common = { line: record.line, customer: readCustomer(field(COLUMNS.customer)) };
  if (faults.length > 0 || 'fault' in price || 'fault' in quantity || 'fault' in date) {
    return {
      ...common,
      invoice: invoiceReadable ? invoice : undefined,
      soldAt: 'fault' in date ? undefined : date.soldAt,
      quantity: 'fault' in quantity ? undefined : quantity.pieces,
      faults,
    };
  }
  return {
    ...common,
    invoice,
    soldAt: date.soldAt,
    sku,
    name,
    quantity: quantity.pieces,
    price: price.pence,
  };
}

/** The current day (UTC), as prices of the shop are dated. */
export function today(): string {
  return new Date().toISOString().slice(0, 10);
}

export function isFaulty(line: SaleLine | FaultyLine): line is FaultyLine {
  return 'faults' in line;
}

function readPrice(text: string): { pence: number } | { fault: Fault } {
  const price = parsePence(text);
  if (price === 'not-a-number')
    return { fault: text === '' ? 'no positive price' : 'price that is no number' };
  if (price === 'fraction') return { fault: 'fraction of a penny' };
  if (price <= 0) return { fault: 'no positive price' };
  if (!UnitPrice.shape.amount.safeParse(price).success) return { fault: 'price above a million pounds' };
  return { pence: price };
}

function readQuantity(text: string): { pieces: number } | { fault: Fault } {
  if (text === '') return { fault: 'no quantity' };
  if (!/^[+-]?\d+$/.test(text)) return { fault: 'quantity that is no whole number' };
  const pieces = Number(text);
  if (pieces === 0) return { fault: 'no quantity' };
  if (!Quantity.safeParse(Math.abs(pieces)).success) return { fault: 'quantity above 100000' };
  return { pieces };
}

function readDate(text: string, today: string): { soldAt: string } | { fault: Fault } {
  const [, day, time] = /^(\d{4}-\d\d-\d\d)[ T]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)$/.exec(text) ?? [];
  if (day === undefined || !z.iso.date().safeParse(day).success) {
    return { fault: 'no date as YYYY-MM-DD HH:MM:SS' };
  }
  if (day > today || !CalendarDate.safeParse(day).success)
    return { fault: 'date before 1900 or in the future' };
  return { soldAt: `${day} ${time}` };
}

/** Customer numbers stand in the file as `17850.0`; one that the shop could not take counts as none. */
function readCustomer(text: string): string | undefined {
  const number = text.replace(/\.0$/, '');
  return CustomerId.safeParse(number).success ? number : undefined;
}
