import { afterAll, beforeAll, expect, test } from 'vitest';
import { certificateOf, orderWhileCertificatesChange } from '../e2e/certificates.ts';
import {
  DATABASES,
  deadLetters,
  type LocalShop,
  orderEnds,
  placeUntilAccepted,
  productWithStock,
  sleep,
  stockOf,
  testShop,
  until,
} from '../e2e/shop.ts';

let shop: LocalShop;
let url: string;

beforeAll(async () => {
  shop = await testShop({ certificateTtl: '1m' });
  url = shop.gatewayUrl;
});
afterAll(async () => {
  await shop?.stop();
});

test('certificates that are good for a minute are replaced while orders flow: every one of them is taken and reaches its end', async () => {
  const end = performance.now() + 200_000;
  const seen = await orderWhileCertificatesChange(shop, () => performance.now() > end);
  for (const [service, certificates] of seen)
    expect(certificates.length, `certificates of ${service}`).toBeGreaterThan(2);
});

test('sidecars that are killed between two certificates, in the middle of a batch: nothing is lost or done twice', async () => {
  const sku = await productWithStock(url, 1000);
  const placed: Promise<string>[] = [];
  for (const victim of DATABASES.map((name) => `${name}-dapr`)) {
    const { restarts } = shop.find(victim);
    for (let i = 0; i < 20; i += 1) placed.push(placeUntilAccepted(url, [{ sku, quantity: 1 }], 90_000));
    await sleep(100);
    shop.find(victim).kill('SIGKILL');
    await until(
      `${victim} to be back`,
      async () => shop.find(victim).restarts > restarts && shop.find(victim).state === 'ready',
    );
  }
  for (const id of await Promise.all(placed)) expect(await orderEnds(url, id, 90_000)).toBe('confirmed');
  await until(
    'stock to move once',
    async () => (await stockOf(url, sku)).committed === placed.length,
    60_000,
  );
  expect(await deadLetters(shop)).toEqual([]);
});

test('control: without sentry they are not replaced, and end; with it again they are, and orders flow', async () => {
  const sku = await productWithStock(url, 10);
  await shop.find('sentry').hold();
  await until(
    'a certificate to end',
    async () => (await certificateOf(shop, 'products')).validTo < Date.now(),
    240_000,
    1_000,
  );
  await shop.find('sentry').release();
  await until(
    'a fresh one',
    async () => (await certificateOf(shop, 'products')).validTo > Date.now(),
    120_000,
    1_000,
  );
  const id = await placeUntilAccepted(url, [{ sku, quantity: 1 }], 90_000);
  expect(await orderEnds(url, id, 90_000)).toBe('confirmed');
});
