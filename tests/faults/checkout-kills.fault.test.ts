import type { CheckoutStep } from '@sidecart/contracts/orders';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createGateway } from '../../clients/gateway-client.ts';
import { takeBooks } from '../../clients/replay/books.ts';
import { createShopApi } from '../../clients/shop-api.ts';
import {
  BRIEF,
  CHECKOUT_VICTIMS,
  type Checkouts,
  killDuringCheckouts,
  STEPS,
} from '../e2e/checkout-kills.ts';
import { stockOff } from '../e2e/kills.ts';
import { testShop } from '../e2e/shop.ts';
import { seed, times } from '../seed.ts';

/** How often the whole matrix is gone through. */
const rounds = times('ROUNDS', 1);
/** Kills of one victim: whether an order was in each step at that instant, its history tells only later. */
const KILLS_AT_MOST = 6;

const ended = new AbortController();
let all: Checkouts;

beforeAll(async () => {
  console.log(`SEED=${seed} ROUNDS=${rounds}`);
  const shop = await testShop();
  all = { shop, orders: new Map(), signal: ended.signal };
});
afterAll(async () => {
  ended.abort();
  await all?.shop.stop();
});

describe('at every step of a checkout, SIGKILL leaves every order at its end, paid once, its stock moved once, its history true', () => {
  const matrix = Array.from({ length: rounds }, () => CHECKOUT_VICTIMS).flat();
  test.each(matrix.map((victim, i) => [victim, seed + 100 * i] as const))('%s', async (victim, own) => {
    const missing = new Set<CheckoutStep>(STEPS);
    for (let kill = 1; kill <= KILLS_AT_MOST && missing.size > 0; kill += 1) {
      const aim = BRIEF.find((step) => missing.has(step));
      const began = performance.now();
      const hit = await killDuringCheckouts(all, victim, {
        steps: [...missing],
        seed: own + kill,
        // The first time at a moment that chance chooses.
        aim: kill > 1 ? aim : undefined,
      });
      for (const step of hit) missing.delete(step);
      const seconds = Math.round((performance.now() - began) / 1000);
      console.log(`${victim}, kill ${kill} (${seconds} s): in ${[...hit].join(', ')}`);
    }
    expect([...missing], 'steps in which no order was caught').toEqual([]);
  });

  test('and the books of the whole shop agree', async () => {
    const gateway = createGateway({ url: all.shop.gatewayUrl, signal: ended.signal });
    const options = { signal: ended.signal, patienceMs: 60_000, known: new Map() };
    const { faults, unsettled, orders } = await takeBooks(createShopApi(gateway), options);
    expect({ faults, unsettled, orders }).toEqual({ faults: [], unsettled: [], orders: all.orders.size });
    expect(await stockOff(all.shop)).toEqual([]);
  });
});
