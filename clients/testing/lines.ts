import { COLUMNS, type FaultyLine, readSaleLine, type SaleLine } from '../retail/sale-line.ts';

/** The values of a made-up record, by what they mean. */
export type Fields = Partial<Record<keyof typeof COLUMNS, string>>;

export const TODAY = '2026-01-01';

/** A made-up record: a sale of six tea cups at 85p, but for the fields given. */
export function record(fields: Fields = {}, line = 2) {
  const values: Required<Fields> = {
    invoice: '500001',
    code: '10001',
    description: 'TEA CUP',
    quantity: '6',
    date: '2010-12-01 09:00:00',
    price: '0.85',
    customer: '70001.0',
    ...fields,
  };
  const named = Object.entries(values).map(([name, value]) => [COLUMNS[name as keyof Fields], value]);
  return { line, raw: Object.values(values).join(','), fields: Object.fromEntries(named) };
}

/** Lines of made-up records, numbered from 2. */
export function lines(...records: Fields[]): (SaleLine | FaultyLine)[] {
  return records.map((fields, i) => readSaleLine(record(fields, i + 2), TODAY));
}
