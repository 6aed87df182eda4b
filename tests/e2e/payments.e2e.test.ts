import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { call, gbp, type LocalShop, placeOrder, productWithStock, testShop, until } from './shop.ts';

// Money on its way through everything: broker, worker, sidecar, simulator, and webhooks by way of the gateway. What each mishap does to
// payments alone is in services/payments/src/worker.int.test.ts.

let shop: LocalShop;
let sku: string;
beforeAll(async () => {
  // Late is late enough when an answer or two are lost before the webhook comes.
  shop = await testShop({ appEnv: { provider: { LATE_MS: '2000' } } });
  sku = await productWithStock(shop.gatewayUrl, 1000);
});
afterAll(async () => {
  await shop?.stop();
});

interface Movement {
  kind: string;
  key: string;
  amount: number;
}

async function placed(token: string): Promise<string> {
  const answer = await placeOrder(shop.gatewayUrl, [{ sku, quantity: 4 }], { token });
  expect(answer.status, answer.text).toBe(201);
  return answer.body.id;
}

const orderOf = async (id: string) => (await call(shop.gatewayUrl, 'GET', `/v1/orders/${id}`)).body;
const paymentOf = async (id: string) =>
  (await call(shop.gatewayUrl, 'GET', `/v1/payments?order_id=${id}`)).body.items[0];
const reaches = (id: string, status: string) =>
  until(`order ${id} to be ${status}`, async () => (await orderOf(id)).status === status, 90_000);

/** Packed and given to the carrier, as a person does. */
async function handOver(id: string): Promise<void> {
  const [shipment] = await until('the shipment', async () => {
    const { body } = await call(shop.gatewayUrl, 'GET', `/v1/shipments?order_id=${id}`);
    return body.items.length > 0 && body.items;
  });
  const path = `/v1/shipments/${shipment.id}`;
  const headers = { 'idempotency-key': randomUUID() };
  expect((await call(shop.gatewayUrl, 'POST', `${path}/packages`, { body: {}, headers })).status).toBe(201);
  expect(
    (await call(shop.gatewayUrl, 'POST', `${path}/hand-over`, { body: { carrier: 'Post' } })).status,
  ).toBe(200);
}

/** What the provider did for these orders: the key of each movement begins with the order. */
async function ledger(ids: string[]): Promise<Movement[]> {
  const { url } = shop.processes().find(({ name }) => name === 'provider') ?? {};
  const { body } = await call(url ?? '', 'GET', '/ledger');
  return body.items.filter(({ key }: Movement) => ids.some((id) => key.startsWith(id)));
}

async function expectEachOnce(ids: string[]): Promise<void> {
  const moved = (await ledger(ids)).map(({ kind, key, amount }) => `${key} ${kind} ${amount}`);
  const due = ids.flatMap((id) => [`${id}.authorise authorised 1000`, `${id}.capture captured 1000`]);
  expect(moved.sort()).toEqual(due.sort());
  for (const id of ids)
    expect(await paymentOf(id)).toMatchObject({
      status: 'captured',
      authorised: gbp(1000),
      captured: gbp(1000),
      refunded: gbp(0),
    });
}

test('whatever goes wrong at the provider, an order is paid once, and shipped', async () => {
  const ids = await Promise.all(['tok_ok', 'tok_timeout', 'tok_twice', 'tok_late', 'tok_down'].map(placed));
  await Promise.all(ids.map((id) => reaches(id, 'confirmed')));
  await Promise.all(ids.map(handOver));
  await Promise.all(ids.map((id) => reaches(id, 'shipped')));
  await expectEachOnce(ids);
});

test('a card that is declined rejects the order, and nothing is held', async () => {
  const id = await placed('tok_declined');
  await reaches(id, 'rejected');
  expect(await ledger([id])).toEqual([]);
});

test.each(['payments', 'payments-dapr', 'provider'])(
  '%s is killed while money is on its way',
  async (name) => {
    const victim = shop.find(name);
    const { restarts } = victim;
    const ids = await Promise.all(['tok_ok', 'tok_slow', 'tok_timeout'].map(placed));
    await until('the first to be asked for', async () => (await ledger(ids)).length > 0);
    victim.kill('SIGKILL');
    await Promise.all(ids.map((id) => reaches(id, 'confirmed')));
    await Promise.all(ids.map(handOver));
    await Promise.all(ids.map((id) => reaches(id, 'shipped')));
    await expectEachOnce(ids);
    await until(
      `${name} to be back`,
      async () => victim.restarts > restarts && victim.state === 'ready',
      90_000,
    );
  },
);
