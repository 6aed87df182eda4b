import { expect, test } from 'vitest';
import { paired } from './figures.ts';

test('a round is compared with the same round', () => {
  const a = new Map([
    [0, 10],
    [1, 30],
    [2, 50],
  ]);
  const b = new Map([
    [1, 10],
    [0, 10],
  ]);
  expect(paired(a, b, (x, y) => x / y)).toEqual([1, 3]);
});
