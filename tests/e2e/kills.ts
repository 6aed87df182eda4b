import { expect } from 'vitest';
import type { Shop } from '../../local/shop.ts';
import {
  deadLetters,
  orderEnds,
  placeUntilAccepted,
  productWithStock,
  query,
  sleep,
  stockOf,
  until,
} from './shop.ts';

/** Everything that can be killed while an order is on its way. */
export const VICTIMS = [
  'gateway',
  'orders',
  'inventory',
  'products',
  'gateway-dapr',
  'orders-dapr',
  'inventory-dapr',
  'products-dapr',
  'nats',
  'postgres',
  'sentry',
];

/** SIGKILLs one process between the placement of some orders and their end, and checks that nothing is lost or done twice. */
export async function killWhileOrdersAreOnTheirWay(
  shop: Shop,
  victim: string,
  random: () => number,
): Promise<void> {
  const url = shop.gatewayUrl;
  const sku = await productWithStock(url, 20);
  const target = shop.find(victim);
  const restarts = target.restarts;
  const ids: string[] = [];
  for (let i = 0; i < 3; i += 1) ids.push(await placeUntilAccepted(url, [{ sku, quantity: 2 }]));
  await sleep(random() * 30);
  target.kill('SIGKILL');
  for (let i = 0; i < 2; i += 1) ids.push(await placeUntilAccepted(url, [{ sku, quantity: 2 }]));
  for (const id of ids) expect(await orderEnds(url, id, 90_000)).toBe('confirmed');
  await until('stock to move once', async () => (await stockOf(url, sku)).committed === 10, 60_000);
  expect(await stockOf(url, sku)).toMatchObject({ received: 20, on_hand: 10, reserved: 0, committed: 10 });
  expect(await deadLetters(shop)).toEqual([]);
  await until(
    `${victim} to be restarted`,
    async () => target.restarts > restarts && target.state === 'ready',
    60_000,
  );
}

/** Products whose figures do not add up; there must be none. */
export const stockOff = (shop: Shop) =>
  query(
    shop,
    'inventory',
    'SELECT sku FROM stock WHERE received <> on_hand + reserved + committed OR least(on_hand, reserved, committed) < 0',
  );

/** A small seeded generator (mulberry32, by Tommy Ettinger, public domain): enough to repeat a run. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
