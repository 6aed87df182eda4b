import { expect, test } from 'vitest';
import { fingerprint, readIdempotencyKey } from './idempotency.ts';
import { toProblem } from './problem.ts';

test('a key is 1 to 128 visible ASCII characters', () => {
  expect(readIdempotencyKey('k')).toBe('k');
  expect(readIdempotencyKey('~'.repeat(128))).toHaveLength(128);
  const codeOf = (value: string | undefined) => {
    try {
      return readIdempotencyKey(value);
    } catch (err) {
      return toProblem(err).code;
    }
  };
  expect([undefined, ''].map(codeOf)).toEqual(['idempotency_key_missing', 'idempotency_key_missing']);
  for (const value of ['x'.repeat(129), 'a b', 'a\tb', 'é', 'a\u0000', ' ', 'a, b']) {
    expect(codeOf(value)).toBe('idempotency_key_invalid');
  }
});

test('a fingerprint tells bodies apart, not ways to write them', () => {
  const a = fingerprint({
    customer: 'c',
    lines: [
      { sku: 'A', quantity: 1 },
      { sku: 'B', quantity: 2 },
    ],
  });
  expect(a).toMatch(/^[0-9a-f]{64}$/);
  expect(
    fingerprint({
      lines: [
        { quantity: 1, sku: 'A' },
        { quantity: 2, sku: 'B' },
      ],
      customer: 'c',
    }),
  ).toBe(a);
  const others = [
    {
      customer: 'c',
      lines: [
        { sku: 'B', quantity: 2 },
        { sku: 'A', quantity: 1 },
      ],
    },
    { customer: 'c', lines: [{ sku: 'A', quantity: 1 }] },
    {
      customer: 'c',
      lines: [
        { sku: 'A', quantity: '1' },
        { sku: 'B', quantity: 2 },
      ],
    },
    {
      lines: [
        { sku: 'A', quantity: 1 },
        { sku: 'B', quantity: 2 },
      ],
    },
    {
      customer: null,
      lines: [
        { sku: 'A', quantity: 1 },
        { sku: 'B', quantity: 2 },
      ],
    },
    null,
    [],
  ];
  expect(new Set(others.map(fingerprint)).size).toBe(others.length);
  expect(others.map(fingerprint)).not.toContain(a);
  expect(fingerprint({ a: 1, 2: 'x', 10: 'y' })).toBe(fingerprint({ 10: 'y', a: 1, 2: 'x' }));
});
