import { seededRandom } from '@sidecart/kit/seeded-random';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seed } from '../seed.ts';
import { killWhileOrdersAreOnTheirWay, processVictim, stockOff, VICTIMS } from './kills.ts';
import { type LocalShop, testShop } from './shop.ts';

const random = seededRandom(seed);

let shop: LocalShop;

beforeAll(async () => {
  console.log(`SEED=${seed}`);
  shop = await testShop();
});
afterAll(async () => {
  await shop?.stop();
});

describe('SIGKILL between an order’s placement and its end loses nothing', () => {
  test.each(VICTIMS)('of %s', (victim) =>
    killWhileOrdersAreOnTheirWay(shop, processVictim(shop, victim), random),
  );

  test('and the figures of every product add up', async () => {
    expect(await stockOff(shop)).toEqual([]);
  });
});
