import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seed } from '../../tests/seed.ts';
import { parsePence } from './pence.ts';

test.each([
  ['4.15', 415],
  ['8.5', 850],
  ['12', 1200],
  ['0.29', 29],
  ['0.0', 0],
  ['4.150000', 415],
  ['1.005000', 'fraction'],
  ['0.001', 'fraction'],
  ['-11062.06', -1106206],
  ['-0.001', -0],
  ['', 'not-a-number'],
  ['1,50', 'not-a-number'],
  ['£4.15', 'not-a-number'],
  ['1e3', 'not-a-number'],
  ['.5', 'not-a-number'],
  ['5.', 'not-a-number'],
  ['NaN', 'not-a-number'],
])('%j is %j', (text, pence) => {
  expect(parsePence(text)).toBe(pence);
});

test('every amount comes back to the penny, however it is written', () => {
  const amounts = fc.record({ pence: fc.integer({ min: 0, max: 100_000_000 }), zeros: fc.nat(3) });
  fc.assert(
    fc.property(amounts, ({ pence, zeros }) => {
      const text = `${Math.trunc(pence / 100)}.${String(pence % 100).padStart(2, '0')}${'0'.repeat(zeros)}`;
      expect(parsePence(text)).toBe(pence);
    }),
    { seed },
  );
});
