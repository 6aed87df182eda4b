import { catalog } from '@sidecart/contracts/catalog';
import { callJson, testDeps, untouchedDatabase } from '@sidecart/kit/testing';
import { createOutbox } from '@sidecart/messaging/outbox';
import { describe, expect, test } from 'vitest';
import { createProductsApp } from './app.ts';
import { openApiDocument } from './openapi.ts';

const app = createProductsApp(testDeps('products'), {
  database: untouchedDatabase(),
  outbox: createOutbox({ service: 'products', catalog, owns: [] }),
  clock: () => new Date('2026-03-14T09:26:53.589Z'),
});

const gbp = (amount: number) => ({ amount, currency: 'GBP' });
const create = (more: object) =>
  callJson(app, 'POST', '/v1/products', { sku: 'HEART', name: 'Heart', unit_price: gbp(255), ...more });
const setPrice = (body: unknown) => callJson(app, 'PUT', '/v1/products/HEART/price', body);

/** What is sent and the places said to be at fault. Nothing of it reaches the database. */
const refused: [string, () => ReturnType<typeof create>, string[]][] = [
  ['an unknown field', () => create({ colour: 'red' }), ['/colour']],
  ['a SKU of no shape', () => create({ sku: 'a b' }), ['/sku']],
  ['a SKU of 41 characters', () => create({ sku: 'x'.repeat(41) }), ['/sku']],
  ['an empty name', () => create({ name: '   ' }), ['/name']],
  ['a name of 201 characters', () => create({ name: 'x'.repeat(201) }), ['/name']],
  ['a NUL', () => create({ name: 'a\0b' }), ['/name']],
  ['half a surrogate pair', () => create({ name: 'a\ud800b' }), ['/name']],
  ['no price', () => create({ unit_price: undefined }), ['/unit_price']],
  ['a free product', () => create({ unit_price: gbp(0) }), ['/unit_price/amount']],
  ['a fraction of a penny', () => create({ unit_price: gbp(0.5) }), ['/unit_price/amount']],
  ['a day that there is not', () => create({ effective_on: '2026-02-30' }), ['/effective_on']],
  ['a day in words', () => create({ effective_on: 'today' }), ['/effective_on']],
  ['the year 0', () => create({ effective_on: '0000-01-01' }), ['/effective_on']],
  ['tomorrow', () => create({ effective_on: '2026-03-15' }), ['/effective_on']],
  [
    'a price from tomorrow on',
    () => setPrice({ unit_price: gbp(1), effective_on: '2026-03-15' }),
    ['/effective_on'],
  ],
  ['a price with an unknown field', () => setPrice({ unit_price: gbp(1), reason: 'x' }), ['/reason']],
  ['a path of no shape', () => callJson(app, 'GET', '/v1/products/a%20b'), ['path:sku']],
  ['quotes of nothing', () => callJson(app, 'POST', '/v1/quotes', { skus: [] }), ['/skus']],
  ['501 quotes', () => callJson(app, 'POST', '/v1/quotes', { skus: Array(501).fill('A') }), ['/skus']],
  [
    'a retirement with a field',
    () => callJson(app, 'POST', '/v1/products/A/retire', { from: '2026-03-15' }),
    ['/from'],
  ],
  ['a retirement that is a list', () => callJson(app, 'POST', '/v1/products/A/retire', []), ['']],
  ['a parameter for one product', () => callJson(app, 'GET', '/v1/products/A?on=today'), ['query:on']],
  [
    'a parameter for its prices',
    () => callJson(app, 'GET', '/v1/products/A/prices?limit=1'),
    ['query:limit'],
  ],
  ['a limit of 0', () => callJson(app, 'GET', '/v1/products?limit=0'), ['query:limit']],
];

describe('refused before anything is stored', () => {
  test.each(refused)('%s', async (_, send, pointers) => {
    const answer = await send();
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect([answer.status, answer.body.code]).toEqual([422, 'validation_failed']);
    const faults: { pointer: string }[] = answer.body.errors;
    expect(new Set(faults.map(({ pointer }) => pointer))).toEqual(new Set(pointers));
  });
});

test('a message, of which products takes none, is answered with "again", never with 404', async () => {
  const answer = await callJson(app, 'POST', '/messages/orders', {});
  expect(answer.status).toBe(503);
});

test('the OpenAPI document has every operation', () => {
  const { paths } = openApiDocument();
  expect(Object.keys(paths ?? {})).toEqual([
    '/v1/products',
    '/v1/products/{sku}',
    '/v1/products/{sku}/prices',
    '/v1/products/{sku}/price',
    '/v1/products/{sku}/retire',
    '/v1/quotes',
  ]);
});
