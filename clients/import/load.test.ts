import { gbp } from '@sidecart/contracts/money';
import { expect, test } from 'vitest';
import { RefusedError } from '../gateway-client.ts';
import type { CatalogueProduct } from '../retail/catalogue.ts';
import { createFakeShop } from '../testing/fake-shop.ts';
import { loadCatalogue } from './load.ts';

const CUP: CatalogueProduct = {
  sku: '10001',
  name: 'TEA CUP',
  prices: [
    { date: '2010-12-01', price: 85 },
    { date: '2011-01-05', price: 95 },
    { date: '2011-01-06', price: 95 },
  ],
};
const BOWL: CatalogueProduct = {
  sku: '10002a',
  name: 'RED BOWL',
  prices: [{ date: '2010-12-01', price: 195 }],
};

/** Loads, and gives with the result how many prices were reported as done. */
async function load(shop: ReturnType<typeof createFakeShop>, ...products: CatalogueProduct[]) {
  let done = 0;
  const result = await loadCatalogue(shop, products, (count) => {
    done += count;
  });
  return { ...result, done };
}

test('products are created with their first price, and every later day follows, oldest first', async () => {
  const shop = createFakeShop();
  expect(await load(shop, CUP, BOWL)).toEqual({
    created: 2,
    existing: 0,
    recorded: 4,
    unchanged: 0,
    refused: [],
    done: 4,
  });
  expect(shop.requests.filter((request) => request.includes('10001'))).toEqual([
    'POST 10001 85',
    'PUT 10001 95 2011-01-05',
    'PUT 10001 95 2011-01-06',
  ]);
});

test('a second run records nothing', async () => {
  const shop = createFakeShop();
  await load(shop, CUP, BOWL);
  const before = shop.requests.length;
  expect(await load(shop, CUP, BOWL)).toEqual({
    created: 0,
    existing: 2,
    recorded: 0,
    unchanged: 4,
    refused: [],
    done: 4,
  });
  expect(shop.requests.slice(before)).toEqual(['POST 10001 85', 'POST 10002a 195']);
});

test('of a product that is there with other prices, only the days that differ are recorded', async () => {
  const shop = createFakeShop();
  await shop.createProduct({
    sku: CUP.sku,
    name: 'ANOTHER NAME',
    unit_price: gbp(85),
    effective_on: '2010-12-01',
  });
  await shop.setPrice(CUP.sku, gbp(95), '2011-01-05');
  await shop.setPrice(CUP.sku, gbp(99), '2011-01-05');
  expect(await load(shop, CUP)).toMatchObject({ existing: 1, recorded: 2, unchanged: 1, done: 3 });
  expect(shop.requests.slice(-2)).toEqual(['PUT 10001 95 2011-01-05', 'PUT 10001 95 2011-01-06']);
});

test('what the shop refuses of one product is told, and the others are loaded', async () => {
  const shop = createFakeShop();
  const ask = { method: 'PUT' as const, path: '/v1/products/10001/price' };
  const answer = { status: 409, headers: new Headers(), body: { code: 'x', title: 'No' }, attempts: 1 };
  const refusing = { ...shop, setPrice: () => Promise.reject(new RefusedError(ask, answer)) };
  expect(await load(refusing, CUP, BOWL)).toEqual({
    created: 2,
    existing: 0,
    recorded: 2,
    unchanged: 0,
    refused: [{ sku: '10001', reason: 'PUT /v1/products/10001/price answered 409 x: No.' }],
    done: 4,
  });
});

test('what is no answer of the shop ends the import', async () => {
  const failing = { ...createFakeShop(), setPrice: () => Promise.reject(new Error('away')) };
  await expect(load(failing, CUP, BOWL)).rejects.toThrow('away');
});
