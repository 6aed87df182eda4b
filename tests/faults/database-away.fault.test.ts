import { afterAll, beforeAll, test } from 'vitest';
import type { Shop } from '../../local/shop.ts';
import { databaseAway } from '../e2e/database-away.ts';
import { testShop } from '../e2e/shop.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await testShop();
});
afterAll(async () => {
  await shop?.stop();
});

test('the database away for two minutes: orders reach their end and not one message is dead-lettered', async () => {
  await databaseAway(shop, 120_000);
});
