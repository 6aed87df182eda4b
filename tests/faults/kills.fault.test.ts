import { seededRandom } from '@sidecart/kit/seeded-random';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { killWhileOrdersAreOnTheirWay, processVictim, stockOff, VICTIMS } from '../e2e/kills.ts';
import { type LocalShop, testShop } from '../e2e/shop.ts';
import { seed, times } from '../seed.ts';

/** How many kills there are. */
const rounds = times('ROUNDS', 60);
const random = seededRandom(seed);

let shop: LocalShop;

beforeAll(async () => {
  console.log(`SEED=${seed} ROUNDS=${rounds}`);
  shop = await testShop();
});
afterAll(async () => {
  await shop?.stop();
});

test('random processes killed at random moments, one after the other', async () => {
  for (let round = 1; round <= rounds; round += 1) {
    const victim = VICTIMS[Math.floor(random() * VICTIMS.length)] as string;
    console.log(`round ${round} of ${rounds}: ${victim}`);
    await killWhileOrdersAreOnTheirWay(shop, processVictim(shop, victim), random);
  }
  expect(await stockOff(shop)).toEqual([]);
}, 3_600_000);
