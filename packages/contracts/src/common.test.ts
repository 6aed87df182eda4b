import { expect, test } from 'vitest';
import { CalendarDate, CustomerId, duplicateLines, OrderId, Sku, text } from './common.ts';

const takes = (schema: { safeParse(value: unknown): { success: boolean } }, value: unknown) =>
  schema.safeParse(value).success;

test.each(['85123A', '15056bl', 'gift_0001_80', 'A.b-c', 'x'.repeat(40)])('%s is a SKU', (sku) => {
  expect(takes(Sku, sku)).toBe(true);
});

test.each(['', 'x'.repeat(41), 'BANK CHARGES', '../A', 'A/B', '-A', 'Ä1', 'A\n', 'A?', 'A%2F'])(
  '%j is none',
  (sku) => {
    expect(takes(Sku, sku)).toBe(false);
  },
);

// PostgreSQL refuses a NUL in text and a lone surrogate in JSON: unchecked, both would be internal errors.
test.each(['', '   ', 'a\u0000b', 'a\nb', '\ud800', 'x'.repeat(11)])('%j is no line of text', (value) => {
  expect(takes(text(10), value)).toBe(false);
});

test.each(['a b', 'Ünïcödé', '日本', '🎁', '<script>'])('%j is a line of text', (value) => {
  expect(takes(text(10), value)).toBe(true);
});

test.each(['2024-02-29', '1900-01-01'])('%s is a day', (day) => {
  expect(takes(CalendarDate, day)).toBe(true);
});

test.each(['2023-02-29', '0000-01-01', '1899-12-31', '2024-1-1', '2024-01-01T00:00:00Z', '12345-01-01'])(
  '%s is none',
  (day) => {
    expect(takes(CalendarDate, day)).toBe(false);
  },
);

test('an order id is its prefix and a UUID in lower case', () => {
  const id = 'ord_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42';
  expect(takes(OrderId, id)).toBe(true);
  expect(takes(OrderId, id.toUpperCase())).toBe(false);
  expect(takes(OrderId, id.replace('ord', 'rcp'))).toBe(false);
  expect(takes(OrderId, `${id}0`)).toBe(false);
});

test('a customer id can travel in a header', () => {
  expect(takes(CustomerId, '17850')).toBe(true);
  expect(takes(CustomerId, 'a b')).toBe(false);
  expect(takes(CustomerId, 'ä')).toBe(false);
});

test('every line whose product an earlier one has is named, and no other', () => {
  const lines = ['HEART', 'LANTERN', 'HEART', 'heart', 'HEART'].map((sku) => ({ sku }));
  expect(duplicateLines(lines).map(({ pointer, code }) => `${pointer} ${code}`)).toEqual([
    '/lines/2/sku duplicate_line',
    '/lines/4/sku duplicate_line',
  ]);
  expect(duplicateLines(lines.slice(0, 2))).toEqual([]);
});
