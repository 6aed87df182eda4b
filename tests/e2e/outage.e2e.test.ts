import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Shop } from '../../local/shop.ts';
import { databaseAway } from './database-away.ts';
import {
  call,
  deadLetters,
  orderByDelivery,
  orderEnds,
  orderStatus,
  placeUntilAccepted,
  productWithStock,
  query,
  sleep,
  stockOf,
  testShop,
  until,
} from './shop.ts';

let shop: Shop;
let url: string;

beforeAll(async () => {
  shop = await testShop();
  url = shop.gatewayUrl;
});
afterAll(async () => {
  await shop?.stop();
});

const healthOf = async (service: string) =>
  (await call(`http://127.0.0.1:${shop.endpoints(service).appPort}`, 'GET', '/healthz')).body as {
    status: string;
  };

/** Sidecars that are there all the time: what they subscribed to before the loss has to serve them after it. */
const LISTENERS = ['orders-dapr', 'payments-dapr', 'shipping-dapr'];

async function loseDisk() {
  await shop.find(shop.broker).hold();
  await shop.wipeBroker();
  await shop.find(shop.broker).release();
}

describe('an outage', () => {
  test('of the database for twenty seconds: orders reach their end and not one message is dead-lettered', async () => {
    await databaseAway(shop, 20_000);
  });

  test('of the broker that ends all connections and refuses the login: orders flow again once it takes it', async () => {
    const sku = await productWithStock(url, 10);
    const restarts = () =>
      ['orders-dapr', 'inventory-dapr', 'products-dapr'].map((name) => shop.find(name).restarts);
    const before = restarts();
    // It makes JetStream's client give up for good, as two minutes without a broker do; that of Redis goes on trying.
    await shop.lockBroker();
    const id = await placeUntilAccepted(url, [{ sku, quantity: 1 }]);
    await sleep(10_000);
    // A broker that is away is told of, and takes no reads with it.
    expect(await healthOf('orders')).toMatchObject({ status: 'degraded' });
    await until('the order to be told', async () => (await orderStatus(url, id)) === 'placed', 5_000);
    await shop.unlockBroker();
    expect(await orderEnds(url, id, 90_000)).toBe('confirmed');
    const after = restarts();
    const restarted = after.map((count, i) => count > (before[i] ?? 0));
    expect(restarted).toEqual(restarted.map(() => shop.broker === 'nats'));
    expect(await orderByDelivery(url, sku)).toBe('confirmed');
  }, 200_000);

  test('of a broker that comes back empty: what it needs is made again and orders flow', async () => {
    const sku = await productWithStock(url, 10);
    expect(await orderEnds(url, await placeUntilAccepted(url, [{ sku, quantity: 1 }]))).toBe('confirmed');
    await loseDisk();
    expect(await orderEnds(url, await placeUntilAccepted(url, [{ sku, quantity: 1 }]), 90_000)).toBe(
      'confirmed',
    );
    expect(await orderByDelivery(url, sku)).toBe('confirmed');
  }, 200_000);

  test('of a broker that loses what it acknowledged: within a minute it is fetched from who sent it, and delivery goes on', async () => {
    const sku = await productWithStock(url, 10);
    // Nobody takes the commands, no sidecar either, so the broker alone has them when it loses its disk. Each is the only one of its key.
    const takers = [shop.find('inventory'), shop.find('inventory-dapr')];
    for (const taker of takers) await taker.hold();
    const ids: string[] = [];
    for (let i = 0; i < 5; i += 1) ids.push(await placeUntilAccepted(url, [{ sku, quantity: 1 }]));
    await until(
      'everything to be acknowledged',
      async () => (await query(shop, 'orders', 'SELECT FROM outbox')).length === 0,
      30_000,
    );
    const starts = () => LISTENERS.map((name) => shop.find(name).restarts);
    const before = starts();
    // Twice, before anybody can have noticed the first time.
    for (let i = 0; i < 2; i += 1) await loseDisk();
    await Promise.all(takers.map((taker) => taker.release()));
    await until(
      'the lost commands to be fetched',
      async () => {
        const { reserved, committed } = await stockOf(url, sku);
        return reserved + committed === 5;
      },
      60_000,
    );
    // What was lost is in place. The way on has more messages, and each would take most of a minute if it had to be fetched.
    for (const id of ids) expect(await orderEnds(url, id, 60_000)).toBe('confirmed');
    await until('stock to move once', async () => (await stockOf(url, sku)).committed === 5, 60_000);
    expect(await orderByDelivery(url, sku)).toBe('confirmed');
    expect(starts()).toEqual(before);
    expect(await deadLetters(shop)).toEqual([]);
  }, 300_000);
});
