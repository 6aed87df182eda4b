import { catalog } from '@sidecart/contracts/catalog';
import { connectDatabase } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createOutbox } from '@sidecart/messaging/outbox';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { cutProxy } from '../../../tests/cut-proxy.ts';
import { type ServiceDatabase, serviceDatabase } from '../../../tests/service-fixture.ts';
import { createOrdersApp } from './app.ts';
import { subscriptions } from './subscriptions.ts';

let own: ServiceDatabase;
beforeAll(async () => {
  own = await serviceDatabase('orders');
});
afterAll(() => own?.close());

const price = { amount: 255, currency: 'GBP' as const };
const body = { customer_id: '17850', lines: [{ sku: 'HEART', quantity: 3, unit_price: price }] };

/** The service on a way to its database that loses answers. */
async function open() {
  const proxy = await cutProxy(own.database.url);
  const database = connectDatabase({ url: proxy.url, applicationName: 'orders' });
  onTestFinished(() => database.close());
  const deps = testDeps('orders');
  const clock = () => new Date();
  const owns = ['orders', 'commands.inventory'];
  const handles = () => ({ ordered: true });
  const outbox = createOutbox({ service: 'orders', catalog, owns, handles });
  const consumer = createConsumer({ ...deps, database, topics: subscriptions(outbox, clock) });
  const getQuotes = async (skus: readonly string[]) =>
    skus.map((sku) => ({ sku, status: 'active' as const, unitPrice: price }));
  const app = createOrdersApp(deps, { database, outbox, getQuotes, clock, orderTimeoutMs: 60_000, consumer });
  return {
    proxy,
    place: (key: string) => callJson(app, 'POST', '/v1/orders', body, { 'idempotency-key': key }),
  };
}

const placed = async () => (await own.outbox()).filter(({ type }) => type === 'OrderPlaced').length;

test('an order whose commit was never answered: the same key again gives that order, and no second event', async () => {
  const { proxy, place } = await open();
  const before = await placed();
  const key = uuidv7();
  const cut = proxy.cutAfter('COMMIT');
  const unanswered = await place(key);
  await cut;
  expect(unanswered.status).toBe(503);
  expect(unanswered.headers.get('retry-after')).not.toBeNull();
  expect(await placed()).toBe(before + 1);
  const again = await place(key);
  expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([200, 'true']);
  expect(await placed()).toBe(before + 1);
  expect((await own.outbox()).filter(({ key: of }) => of === again.body.id).map(({ type }) => type)).toEqual([
    'OrderPlaced',
    'ReserveStock',
  ]);
});

test('control: a client that takes it for failed and places anew has two', async () => {
  const { proxy, place } = await open();
  const before = await placed();
  const cut = proxy.cutAfter('COMMIT');
  expect((await place(uuidv7())).status).toBe(503);
  await cut;
  expect((await place(uuidv7())).status).toBe(201);
  expect(await placed()).toBe(before + 2);
});
