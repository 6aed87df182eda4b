import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Shop } from '../../local/shop.ts';
import {
  deadLetters,
  orderByDelivery,
  orderEnds,
  orderStatus,
  placeUntilAccepted,
  productWithStock,
  sleep,
  stockOf,
  testShop,
  until,
} from '../e2e/shop.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await testShop();
});
afterAll(async () => {
  await shop?.stop();
});

test('the broker away for three minutes: reads and new orders go on, and all orders reach their end once it is back', async () => {
  const url = shop.gatewayUrl;
  const sku = await productWithStock(url, 20);
  await shop.find(shop.broker).hold();
  const ids: string[] = [];
  for (let minute = 0; minute < 3; minute += 1) {
    ids.push(await placeUntilAccepted(url, [{ sku, quantity: 1 }]));
    await sleep(60_000);
    for (const id of ids)
      await until(`order ${id} to be told`, async () => (await orderStatus(url, id)) === 'placed', 15_000);
  }
  await shop.find(shop.broker).release();
  for (const id of ids) expect(await orderEnds(url, id, 120_000)).toBe('confirmed');
  // Those may have been fetched from who sent them.
  expect(await orderByDelivery(url, sku)).toBe('confirmed');
  await until(
    'stock to move once',
    async () => (await stockOf(url, sku)).committed === ids.length + 1,
    60_000,
  );
  expect(await deadLetters(shop)).toEqual([]);
}, 600_000);
