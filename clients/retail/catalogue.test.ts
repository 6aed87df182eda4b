import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seed } from '../../tests/seed.ts';
import { type Fields, lines } from '../testing/lines.ts';
import { createCatalogueBuilder } from './catalogue.ts';
import { isFaulty, type SaleLine } from './sale-line.ts';

function catalogueOf(sales: SaleLine[]) {
  const builder = createCatalogueBuilder();
  for (const sale of sales) builder.add(sale);
  return builder.products();
}
const sales = (...records: Fields[]) => lines(...records).flatMap((line) => (isFaulty(line) ? [] : line));

test('each day has the last price of that day, oldest day first, and the name of the last sale', () => {
  const products = catalogueOf(
    sales(
      { date: '2011-01-05 12:00:00', price: '0.95', description: 'TEA CUP, BLUE' },
      { date: '2010-12-01 09:00:00', price: '0.85' },
      { date: '2010-12-01 17:00:00', price: '0.99', description: 'BLUE CUP' },
    ),
  );
  expect(products).toEqual([
    {
      sku: '10001',
      name: 'TEA CUP, BLUE',
      prices: [
        { date: '2010-12-01', price: 99 },
        { date: '2011-01-05', price: 95 },
      ],
    },
  ]);
});

test('of two sales at the same time the higher invoice number counts, then the later line', () => {
  const prices = (...records: Fields[]) => catalogueOf(sales(...records))[0]?.prices.map((day) => day.price);
  expect(prices({ invoice: '500002', price: '2.00' }, { invoice: '500001', price: '1.00' })).toEqual([200]);
  expect(prices({ price: '2.00' }, { price: '1.00' })).toEqual([100]);
});

test('codes that differ only by case are different products', () => {
  expect(catalogueOf(sales({ code: '85123a' }, { code: '85123A' })).map((product) => product.sku)).toEqual([
    '85123A',
    '85123a',
  ]);
});

test('the order of the lines does not matter', () => {
  const record = fc.record({
    invoice: fc.constantFrom('500001', '500002', '500003'),
    code: fc.constantFrom('10001', '10002A', '10002a'),
    description: fc.constantFrom('CUP', 'BOWL'),
    date: fc.constantFrom('2010-12-01 09:00:00', '2010-12-01 09:01:00', '2010-12-02 09:00:00'),
    price: fc.constantFrom('0.85', '0.95', '1.25'),
  });
  const shuffled = fc.array(record, { maxLength: 20 }).chain((records) => {
    const inOrder = sales(...records);
    return fc.record({
      inOrder: fc.constant(inOrder),
      mixed: fc.shuffledSubarray(inOrder, { minLength: inOrder.length }),
    });
  });
  fc.assert(
    fc.property(shuffled, ({ inOrder, mixed }) => {
      expect(catalogueOf(mixed)).toEqual(catalogueOf(inOrder));
    }),
    { seed },
  );
});
