import { expect, test } from 'vitest';
import { seed, times } from '../../../tests/seed.ts';
import type { Part } from './fixture-checkout.ts';
import { checkOrders, EVERYTHING } from './fixture-happenings.ts';

// With the real rules of its neighbours: tests/checkout-neighbours.test.ts.

/** How many orders there are. */
const runs = times('RUNS', 2000);

test('whatever happens to an order, and in whatever order: it ends, and the books of all agree', {
  timeout: 600_000,
}, () => {
  // All of them, or it would be of little worth.
  const done = checkOrders({ seed, runs });
  if (runs >= 2000) expect(done).toEqual(EVERYTHING);
});

test.each<[Part, string]>([
  ['release', 'stock that is with the order'],
  ['void', 'at its end'],
  ['deadlines', 'at its end'],
  ['settling without an answer', 'at its end'],
])('control: without the %s the model notices', (without, what) => {
  expect(() => checkOrders({ seed, runs: 500, without })).toThrow(what);
});
