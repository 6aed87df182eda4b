import { catalog } from '@sidecart/contracts/catalog';
import { uuidv7 } from '@sidecart/kit/ids';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { createOutbox } from '@sidecart/messaging/outbox';
import { PgSelectBase } from 'drizzle-orm/pg-core';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { seed } from '../../../tests/seed.ts';
import { type ServiceDatabase, serviceDatabase } from '../../../tests/service-fixture.ts';
import { createProductsApp } from './app.ts';

const gbp = (amount: number) => ({ amount, currency: 'GBP' });
const today = '2026-03-14';

let own: ServiceDatabase;
let app: ReturnType<typeof createProductsApp>;

beforeAll(async () => {
  own = await serviceDatabase('products');
  const outbox = createOutbox({ service: 'products', catalog, owns: ['products'] });
  const clock = () => new Date(`${today}T09:26:53.589Z`);
  app = createProductsApp(testDeps('products'), { database: own.database, outbox, clock });
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => own?.close());

const create = (sku: string, more: object = {}) =>
  callJson(app, 'POST', '/v1/products', { sku, name: 'Heart', unit_price: gbp(255), ...more });
const setPrice = (sku: string, amount: number, effective_on?: string) =>
  callJson(app, 'PUT', `/v1/products/${sku}/price`, {
    unit_price: gbp(amount),
    ...(effective_on !== undefined && { effective_on }),
  });
const read = async (sku: string) => (await callJson(app, 'GET', `/v1/products/${sku}`)).body;
const pricesOf = async (sku: string) =>
  (await callJson(app, 'GET', `/v1/products/${sku}/prices`)).body.items.map(
    (item: { effective_on: string; unit_price: { amount: number }; version: number }) => [
      item.effective_on,
      item.unit_price.amount,
      item.version,
    ],
  );
const told = async (sku: string) => (await own.outbox()).filter(({ key }) => key === sku);

async function product(more: object = {}): Promise<string> {
  const sku = `P-${uuidv7()}`;
  expect((await create(sku, more)).status).toBe(201);
  return sku;
}

describe('creating', () => {
  test('stores the product with its first price and tells of it', async () => {
    const sku = `P-${uuidv7()}`;
    const answer = await create(sku, { effective_on: '2010-12-01' });
    expect(answer.status).toBe(201);
    expect(answer.headers.get('location')).toBe(`/v1/products/${sku}`);
    expect(answer.body).toEqual({
      sku,
      name: 'Heart',
      status: 'active',
      unit_price: gbp(255),
      version: 1,
      updated_at: `${today}T09:26:53.589Z`,
    });
    expect(await read(sku)).toEqual(answer.body);
    expect(await pricesOf(sku)).toEqual([['2010-12-01', 255, 1]]);
    expect(await told(sku)).toMatchObject([
      {
        topic: 'products',
        type: 'ProductCreated',
        data: { sku, name: 'Heart', unit_price: gbp(255), effective_on: '2010-12-01', version: 1 },
      },
    ]);
  });

  test('again just so answers with the product as it is now, and tells nobody', async () => {
    const sku = await product({ effective_on: '2010-12-01' });
    await setPrice(sku, 295);
    const again = await create(sku, { effective_on: '2010-12-01' });
    expect([again.status, again.body.unit_price]).toEqual([200, gbp(295)]);
    expect((await create(sku)).status).toBe(200);
    expect(await told(sku)).toHaveLength(2);
  });

  test.each([
    ['another name', { name: 'Lantern' }],
    ['another price', { unit_price: gbp(256) }],
    ['another day', { effective_on: '2011-01-01' }],
  ])('again with %s is refused', async (_, difference) => {
    const sku = await product();
    const answer = await create(sku, difference);
    expect([answer.status, answer.body.code]).toEqual([409, 'product_exists']);
  });

  test('ten times at once makes one', async () => {
    const sku = `P-${uuidv7()}`;
    const all = await Promise.all(Array.from({ length: 10 }, () => create(sku)));
    expect(all.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(all.filter(({ status }) => status === 200)).toHaveLength(9);
    expect(await told(sku)).toHaveLength(1);
  });

  test('SKUs that differ by case are two products', async () => {
    const sku = await product();
    expect((await create(sku.toLowerCase(), { name: 'Other' })).status).toBe(201);
    expect((await read(sku)).name).toBe('Heart');
  });
});

describe('prices', () => {
  test('the latest day counts, whatever order the days come in', async () => {
    const sku = await product({ effective_on: '2011-03-01' });
    expect((await setPrice(sku, 300, '2011-06-01')).body).toMatchObject({
      changed: true,
      product: { unit_price: gbp(300), version: 2 },
    });
    expect((await setPrice(sku, 200, '2011-01-01')).body).toMatchObject({
      changed: true,
      product: { unit_price: gbp(300), version: 3 },
    });
    expect(await pricesOf(sku)).toEqual([
      ['2011-01-01', 200, 3],
      ['2011-03-01', 255, 1],
      ['2011-06-01', 300, 2],
    ]);
    expect((await told(sku)).slice(1)).toMatchObject([
      { type: 'ProductPriceChanged', data: { is_current: true, previous: gbp(255), version: 2 } },
      { type: 'ProductPriceChanged', data: { is_current: false, previous: gbp(300), version: 3 } },
    ]);
  });

  test('of one day the latest version counts, and nothing is overwritten', async () => {
    const sku = await product();
    await setPrice(sku, 260);
    await setPrice(sku, 270);
    expect((await setPrice(sku, 260)).body).toMatchObject({ changed: true, product: { version: 4 } });
    expect((await read(sku)).unit_price).toEqual(gbp(260));
    expect(await pricesOf(sku)).toEqual([
      [today, 255, 1],
      [today, 260, 2],
      [today, 270, 3],
      [today, 260, 4],
    ]);
  });

  test('recording what a day already has changes nothing and tells nobody', async () => {
    const sku = await product({ effective_on: '2011-03-01' });
    await setPrice(sku, 300, '2011-06-01');
    expect((await setPrice(sku, 255, '2011-03-01')).body).toMatchObject({
      changed: false,
      product: { unit_price: gbp(300), version: 2 },
    });
    expect(await told(sku)).toHaveLength(2);
  });

  test('any history, in any order, played twice changes nothing the second time', async () => {
    const days = fc.uniqueArray(
      fc.record({ day: fc.integer({ min: 1, max: 28 }), amount: fc.integer({ min: 1, max: 5 }) }),
      { selector: ({ day }) => day, minLength: 1, maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(days, async (history) => {
        const dated = history.map(({ day, amount }) => ({
          on: `2011-01-${String(day).padStart(2, '0')}`,
          amount,
        }));
        const sku = await product({ effective_on: '2010-12-31' });
        for (const { on, amount } of dated) expect((await setPrice(sku, amount, on)).body.changed).toBe(true);
        const after = await read(sku);
        const latest = dated.toSorted((a, b) => (a.on < b.on ? -1 : 1)).at(-1);
        expect(after.unit_price.amount).toBe(latest?.amount);
        for (const { on, amount } of dated)
          expect((await setPrice(sku, amount, on)).body.changed).toBe(false);
        expect(await read(sku)).toEqual(after);
      }),
      { numRuns: 15, seed },
    );
  });

  test('of an unknown product are not found', async () => {
    expect((await setPrice('NOPE', 1)).body.code).toBe('not_found');
    expect((await callJson(app, 'GET', '/v1/products/NOPE/prices')).status).toBe(404);
  });

  /** Two changes that have both come as far as they can before either may go on. */
  async function twoAtOnce() {
    const sku = await product();
    const both: ReturnType<typeof setPrice>[] = [];
    await own.eyes.begin(async (tx) => {
      await tx`SELECT 1 FROM products WHERE sku = ${sku} FOR UPDATE`;
      both.push(setPrice(sku, 260, '2026-03-01'), setPrice(sku, 270, '2026-03-02'));
      await own.blocked(2);
    });
    const statuses = (await Promise.all(both)).map(({ status }) => status);
    return { statuses, versions: (await told(sku)).map(({ data }) => data.version) };
  }

  test('changed twice at once get two versions', async () => {
    expect(await twoAtOnce()).toEqual({ statuses: [200, 200], versions: [1, 2, 3] });
  });

  test('control: without the row lock both want version 2, and the primary key lets one fail', async () => {
    vi.spyOn(PgSelectBase.prototype, 'for').mockReturnThis();
    const { statuses, versions } = await twoAtOnce();
    expect(statuses.sort()).toEqual([200, 500]);
    expect(versions).toEqual([1, 2]);
  });
});

describe('retiring', () => {
  test('takes a product off sale once, and keeps its prices', async () => {
    const sku = await product();
    const answer = await callJson(app, 'POST', `/v1/products/${sku}/retire`);
    expect(answer.body).toMatchObject({ status: 'retired', version: 2 });
    expect((await callJson(app, 'POST', `/v1/products/${sku}/retire`)).body).toEqual(answer.body);
    expect((await told(sku)).slice(1)).toMatchObject([{ type: 'ProductRetired', data: { sku, version: 2 } }]);
    const change = await setPrice(sku, 1);
    expect([change.status, change.body.code]).toEqual([409, 'product_not_changeable']);
    expect((await setPrice(sku, 255)).body.changed).toBe(false);
  });
});

test('quotes say what is known, in the order asked for, and what is not', async () => {
  const [a, b] = [await product(), await product()];
  await callJson(app, 'POST', `/v1/products/${a}/retire`);
  const { body } = await callJson(app, 'POST', '/v1/quotes', { skus: [b, 'NOPE', a, b] });
  expect(body).toEqual({
    items: [
      { sku: b, name: 'Heart', status: 'active', unit_price: gbp(255), version: 1 },
      { sku: a, name: 'Heart', status: 'retired', unit_price: gbp(255), version: 2 },
    ],
    unknown: ['NOPE'],
  });
});

test('the list goes by SKU, page by page', async () => {
  const seen: string[] = [];
  let cursor = '';
  do {
    const { body } = await callJson(app, 'GET', `/v1/products?limit=7${cursor}`);
    seen.push(...body.items.map((item: { sku: string }) => item.sku));
    cursor = body.next_cursor ? `&cursor=${body.next_cursor}` : '';
  } while (cursor !== '');
  const all = await own.eyes<{ sku: string }[]>`SELECT sku FROM products ORDER BY sku`;
  expect(seen).toEqual(all.map(({ sku }) => sku));
});
