import { connectDatabase } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import { callJson } from '@sidecart/kit/testing';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { cutProxy } from '../../../tests/cut-proxy.ts';
import { type ServiceDatabase, serviceDatabase } from '../../../tests/service-fixture.ts';
import { answersAbout, BODY, ordersService, orderThatIs } from './fixture-orders.ts';

let own: ServiceDatabase;
beforeAll(async () => {
  own = await serviceDatabase('orders');
});
afterAll(() => own?.close());

/** The service on a way to its database that loses answers. */
async function open() {
  const proxy = await cutProxy(own.database.url);
  const database = connectDatabase({ url: proxy.url, applicationName: 'orders' });
  onTestFinished(() => database.close());
  const { app } = ordersService(database);
  return {
    app,
    proxy,
    place: (key: string) => callJson(app, 'POST', '/v1/orders', BODY, { 'idempotency-key': key }),
  };
}

const placed = async () => (await own.outbox()).filter(({ type }) => type === 'OrderPlaced').length;
const typesTold = async (id: string) =>
  (await own.outbox()).filter(({ key }) => key === id).map(({ type }) => type);

describe('a commit that was never answered', () => {
  test('of an order: the same key again gives that order, and no second event', async () => {
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
    expect(await typesTold(again.body.id)).toEqual(['OrderPlaced', 'ReserveStock']);
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

  test('of a refund: the same key again asks for the money once', async () => {
    const { app, proxy } = await open();
    const id = await orderThatIs(app, 'delivered');
    const key = uuidv7();
    const refund = () =>
      callJson(app, 'POST', `/v1/orders/${id}/refunds`, { reason: 'torn' }, { 'idempotency-key': key });
    const cut = proxy.cutAfter('COMMIT');
    expect((await refund()).status).toBe(503);
    await cut;
    expect(await refund()).toMatchObject({ status: 200, body: { progress: { step: 'refund' } } });
    expect((await typesTold(id)).filter((type) => type === 'RefundPayment')).toHaveLength(1);
  });

  test('of an answer: it is delivered again, and what it leads to is asked for once', async () => {
    const { app, proxy } = await open();
    const id = await orderThatIs(app, 'placed');
    const message = uuidv7();
    const cut = proxy.cutAfter('COMMIT');
    const first = await answersAbout(app, id).stockReserved(message);
    await cut;
    expect(first.body).not.toMatchObject({ status: 'SUCCESS' });
    await answersAbout(app, id).stockReserved(message);
    expect(await typesTold(id)).toEqual(['OrderPlaced', 'ReserveStock', 'AuthorisePayment']);
  });
});
