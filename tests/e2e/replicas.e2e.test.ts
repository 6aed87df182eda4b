import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Shop } from '../../local/shop.ts';
import {
  deadLetters,
  orderEnds,
  placeUntilAccepted,
  productWithStock,
  query,
  stockOf,
  testShop,
  until,
} from './shop.ts';

let shop: Shop;
let url: string;

beforeAll(async () => {
  shop = await testShop({ replicas: { orders: 3 } });
  url = shop.gatewayUrl;
});
afterAll(async () => {
  await shop?.stop();
});

interface Holder {
  application_name: string;
  slots: number;
}

/** Who holds the relay's slots, by the name each replica's relay gives its own connection. */
const holders = () =>
  query<Holder>(
    shop,
    'orders',
    `SELECT a.application_name, count(*)::int AS slots FROM pg_locks l JOIN pg_stat_activity a USING (pid)
      WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 7001 AND a.datname = 'orders' GROUP BY 1`,
  );

test('a frozen relay’s slots move on; when it thaws nothing is lost and nothing applied twice', async () => {
  const sku = await productWithStock(url, 100);
  const owner = await until(
    'a replica to own slots',
    async () => (await holders()).sort((a, b) => b.slots - a.slots)[0],
  );
  const name = ['orders-1', 'orders-2', 'orders-3'].find((replica) =>
    owner.application_name.includes(replica),
  );
  if (!name) throw new Error(`no replica is called like the holder ${owner.application_name}`);
  const ids: string[] = [];
  for (let i = 0; i < 5; i += 1) ids.push(await placeUntilAccepted(url, [{ sku, quantity: 1 }]));
  shop.find(name).kill('SIGSTOP');
  try {
    for (let i = 0; i < 10; i += 1) ids.push(await placeUntilAccepted(url, [{ sku, quantity: 1 }], 90_000));
    await until(
      'the frozen owner’s slots to move on',
      async () => {
        const now = await holders();
        return (
          !now.some((h) => h.application_name === owner.application_name) &&
          now.reduce((n, h) => n + h.slots, 0) === 16
        );
      },
      30_000,
      200,
    );
  } finally {
    shop.find(name).kill('SIGCONT');
  }
  for (let i = 0; i < 5; i += 1) ids.push(await placeUntilAccepted(url, [{ sku, quantity: 1 }], 90_000));
  for (const id of ids) expect(await orderEnds(url, id, 90_000)).toBe('confirmed');
  await until('stock to move once', async () => (await stockOf(url, sku)).committed === 20, 60_000);
  expect(await stockOf(url, sku)).toMatchObject({ received: 100, on_hand: 80, reserved: 0, committed: 20 });
  expect(await deadLetters(shop)).toEqual([]);
}, 300_000);
