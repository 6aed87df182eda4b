import { expect } from 'vitest';
import type { Shop } from '../../local/shop.ts';
import { startingDatabase } from '../starting-database.ts';
import {
  call,
  deadLetters,
  orderEnds,
  placeOrder,
  placeUntilAccepted,
  productWithStock,
  sleep,
  stockOf,
  until,
} from './shop.ts';

/**
 * Takes the database away for so long, with messages on their way, and looks whether anything was lost or given up. In the second half of
 * it there is one that is just starting.
 */
export async function databaseAway(shop: Shop, ms: number): Promise<void> {
  const url = shop.gatewayUrl;
  const sku = await productWithStock(url, 50);
  const ids: string[] = [];
  // Some are on their way when the database goes: held here, so that the outage hits them for sure.
  await shop.find('inventory').hold();
  for (let i = 0; i < 10; i += 1) ids.push(await placeUntilAccepted(url, [{ sku, quantity: 1 }]));
  await shop.find('postgres').hold();
  const inventoryBack = shop.find('inventory').release();
  await sleep(ms / 2);
  const starting = await startingDatabase(Number(new URL(shop.adminUrl('orders')).port));
  const refused = await placeOrder(url, [{ sku, quantity: 1 }]);
  expect(refused.status).toBe(503);
  expect(refused.headers.get('retry-after')).not.toBeNull();
  expect((await call(url, 'GET', '/livez')).status).toBe(200);
  await sleep(ms / 2);
  expect(starting.asked()).toBeGreaterThan(50);
  await starting.stop();
  await shop.find('postgres').release();
  await inventoryBack;
  ids.push(await placeUntilAccepted(url, [{ sku, quantity: 1 }]));
  for (const id of ids) expect(await orderEnds(url, id, 60_000)).toBe('confirmed');
  await until('stock to move once', async () => (await stockOf(url, sku)).committed === ids.length, 60_000);
  expect(await deadLetters(shop)).toEqual([]);
}
