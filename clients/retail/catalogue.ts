import type { SaleLine } from './sale-line.ts';

/** A product as the sales of a file show it. */
export interface CatalogueProduct {
  sku: string;
  name: string;
  /** One per day on which it was sold, oldest first; the price is in pence. */
  prices: { date: string; price: number }[];
}

export interface CatalogueBuilder {
  add(line: SaleLine): void;
  /** In the order of their codes. */
  products(): CatalogueProduct[];
}

/**
 * Gathers a catalogue from lines in any order; the same lines in another order make the same catalogue. Of several
 * prices on one day the last counts, by time, then invoice number, then place in the file; the name is that on
 * the last line of all. Codes that differ only by case are different products. Keeps one entry per code and
 * day, however many lines there are.
 */
export function createCatalogueBuilder(): CatalogueBuilder {
  const lastByDay = new Map<string, Map<string, SaleLine>>();
  return {
    add(line) {
      const date = line.soldAt.slice(0, 10);
      const days = lastByDay.get(line.sku) ?? new Map<string, SaleLine>();
      lastByDay.set(line.sku, days);
      const known = days.get(date);
      if (known === undefined || compareSales(known, line) < 0) days.set(date, line);
    },
    products() {
      return [...lastByDay].sort(([a], [b]) => compareText(a, b)).map(([sku, days]) => toProduct(sku, days));
    },
  };
}

/** Compares by UTF-16 code units, as the results must not hang on anybody's locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareSales(a: SaleLine, b: SaleLine): number {
  return compareText(a.soldAt, b.soldAt) || compareText(a.invoice, b.invoice) || a.line - b.line;
}

function toProduct(sku: string, days: ReadonlyMap<string, SaleLine>): CatalogueProduct {
  const lines = [...days.values()].sort(compareSales);
  return {
    sku,
    name: lines.at(-1)?.name ?? sku,
    prices: lines.map((line) => ({ date: line.soldAt.slice(0, 10), price: line.price })),
  };
}
