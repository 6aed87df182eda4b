import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { createTranscript, formatJson } from './transcript.ts';

test('short JSON is one line', () => {
  expect(formatJson({ sku: 'A', unit_price: { amount: 1, currency: 'GBP' } })).toBe(
    '{"sku":"A","unit_price":{"amount":1,"currency":"GBP"}}',
  );
  expect(formatJson('text')).toBe('"text"');
});

test('long JSON fills its lines and stays JSON', () => {
  const value = {
    a: 'x'.repeat(60),
    b: 'y'.repeat(30),
    c: ['z'.repeat(60), 'z'.repeat(60)],
    d: null,
    e: undefined,
  };
  const text = formatJson(value, '  ');
  expect(JSON.parse(text)).toEqual(value);
  expect(text.split('\n').map((line) => line.length)).toSatisfy((lengths: number[]) =>
    lengths.every((length) => length <= 110),
  );
  expect(text.split('\n')).toHaveLength(9);
});

test('of a long list the beginning is shown, and how much more there is', () => {
  expect(formatJson([1, 2, 3, 4, 5])).toBe('[1,2,3,"... and 2 more"]');
});

test('an exchange shows request, telling headers and answer', () => {
  const printed: string[] = [];
  const transcript = createTranscript((line) => printed.push(stripVTControlCharacters(line)));
  transcript.step('Order');
  transcript.exchange(
    { method: 'POST', path: '/v1/orders', key: 'k', body: { lines: [] } },
    {
      status: 409,
      headers: new Headers({ 'content-type': 'application/problem+json', date: 'today' }),
      body: { code: 'price_changed' },
      attempts: 2,
    },
  );
  expect(printed).toEqual([
    '\n1. Order',
    '   POST /v1/orders',
    '   Idempotency-Key: k',
    '   {"lines":[]}',
    '   409 Conflict  (at attempt 2)',
    '   Content-Type: application/problem+json',
    '   {"code":"price_changed"}',
  ]);
});
