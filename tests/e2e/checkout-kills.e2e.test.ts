import { seededRandom } from '@sidecart/kit/seeded-random';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seed } from '../seed.ts';
import { BRIEF, CHECKOUT_VICTIMS, type Checkouts, killDuringCheckouts } from './checkout-kills.ts';
import { testShop } from './shop.ts';

// The whole matrix is in tests/faults.
const random = seededRandom(seed);
const VICTIMS = drawn(2);

/** The provider tells late payments of their end this much later: long enough to be found under way, and less to wait for than the 5 s of its own. */
const LATE_MS = '2000';

const ended = new AbortController();
let all: Checkouts;

beforeAll(async () => {
  console.log(`SEED=${seed}`);
  const shop = await testShop({ appEnv: { provider: { LATE_MS } } });
  all = { shop, orders: new Map(), signal: ended.signal };
});
afterAll(async () => {
  ended.abort();
  await all?.shop.stop();
});

test.each(VICTIMS)(
  '%s is killed while orders are in every step of a checkout: each ends, is paid once, and its history is true',
  async (victim) => {
    const hit = await killDuringCheckouts(all, victim, {
      seed,
      aim: BRIEF[VICTIMS.indexOf(victim) + (seed % 2)],
    });
    console.log(`${victim}: in ${[...hit].join(', ')}`);
    // These rest until somebody does something; the others are over in a moment, and the long form sees to it that they are hit.
    expect([...hit]).toEqual(expect.arrayContaining(['hand_over', 'deliver', 'person']));
  },
  300_000,
);

function drawn(count: number): string[] {
  const left: string[] = [...CHECKOUT_VICTIMS];
  return Array.from({ length: count }, () => left.splice(Math.floor(random() * left.length), 1)).flat();
}
