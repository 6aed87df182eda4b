import { expect, test } from 'vitest';
import { backoffMs } from './backoff.ts';

test('waits twice as long after each failure, and never longer than 15 s', () => {
  expect([1, 2, 3, 4, 5, 6, 7, 8, 50].map(backoffMs)).toEqual([
    250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000,
  ]);
});
