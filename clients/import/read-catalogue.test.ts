import { expect, test } from 'vitest';
import type { FileRecord } from '../retail/records.ts';
import { type Fields, record, TODAY } from '../testing/lines.ts';
import { readCatalogue } from './read-catalogue.ts';

async function read(...records: (Fields | FileRecord)[]) {
  const rejected: [number, readonly string[], string][] = [];
  const rejects = {
    async add(line: number, reasons: readonly string[], raw: string) {
      rejected.push([line, reasons, raw]);
    },
  };
  const all = records.map((one, i) => ('raw' in one ? one : record(one, i + 2)));
  async function* stream() {
    yield* all;
  }
  return { ...(await readCatalogue(stream(), rejects, TODAY)), file: rejected };
}

test('sales make the catalogue; each other record is counted once, and rejects are told with line and reasons', async () => {
  const reading = await read(
    {},
    { code: 'POST', description: '', price: '0.0' },
    { invoice: 'C500002', quantity: '-6', price: '0.99', date: '2010-12-02 09:00:00' },
    { line: 5, raw: '1,"oops', fault: 'broken quotes' },
    { price: '0.001' },
  );
  expect(reading).toMatchObject({ records: 5, used: 1, returned: 1, rejected: 3 });
  expect(reading.products).toEqual([
    { sku: '10001', name: 'TEA CUP', prices: [{ date: '2010-12-01', price: 85 }] },
  ]);
  expect(reading.file).toEqual([
    [
      3,
      ['no goods', 'no description', 'no positive price'],
      record({ code: 'POST', description: '', price: '0.0' }).raw,
    ],
    [5, ['broken quotes'], '1,"oops'],
    [6, ['fraction of a penny'], record({ price: '0.001' }).raw],
  ]);
  expect(Object.fromEntries(reading.reasons)).toEqual({
    'no goods': 1,
    'no description': 1,
    'no positive price': 1,
    'broken quotes': 1,
    'fraction of a penny': 1,
  });
});
