import { expect, test } from 'vitest';
import { behind } from './behind.ts';

test('snapshots are 50 to 100 events behind, and not before the first event', () => {
  const all = Array.from({ length: 500 }, (_, stream) => behind(stream, 10_000));
  expect([Math.min(...all), Math.max(...all)]).toEqual([50, 100]);
  expect(Math.max(...Array.from({ length: 500 }, (_, stream) => behind(stream, 100)))).toBe(99);
});
