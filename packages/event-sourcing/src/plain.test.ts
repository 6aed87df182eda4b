import { describe, expect, it } from 'vitest';
import { survivesJson } from './plain.ts';

describe('a value', () => {
  it.each([null, '', 'ä', 0, -0, 1.5, true, [], [1, [null]], {}, { a: { b: [1] } }, { a: undefined }])(
    'survives JSON: %j',
    (value) => expect(survivesJson(value)).toBe(true),
  );

  it.each([
    undefined,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    1n,
    new Date(0),
    new Map(),
    new Set(),
    [undefined],
    { a: { b: new Map() } },
    { a: () => 1 },
    new (class Money {
      amount = 1;
    })(),
  ])('does not: %o', (value) => expect(survivesJson(value)).toBe(false));
});
