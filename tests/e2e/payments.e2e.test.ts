import { afterAll, beforeAll, expect, test } from 'vitest';
import { openShop } from './open-shop.ts';
import { type PaidOrders, paidOrders } from './paid-orders.ts';
import { productWithStock, type Target } from './shop.ts';

// Money on its way through everything: broker, worker, sidecar, simulator, and webhooks by way of the gateway. What each mishap does to
// payments alone is in services/payments/src/worker.int.test.ts; who is killed on the way, in payments-kills.e2e.test.ts.

/** A webhook that is not taken is sent again for 63 s, and until then no answer comes through either (provider/mishaps.ts). */
const BY_WEBHOOK_ALONE_MS = 30_000;

let shop: Target;
let orders: PaidOrders;
beforeAll(async () => {
  // Late is late enough when an answer or two are lost before the webhook comes.
  shop = await openShop({ appEnv: { provider: { LATE_MS: '2000' } } });
  orders = paidOrders(shop, await productWithStock(shop.gatewayUrl, 1000));
});
afterAll(async () => {
  await shop?.stop();
});

test('whatever goes wrong at the provider, an order is paid once, and shipped', async () => {
  const tokens = ['tok_ok', 'tok_timeout', 'tok_twice', 'tok_late', 'tok_down'];
  const ids = await Promise.all(tokens.map(orders.placed));
  await Promise.all(ids.map((id) => orders.reaches(id, 'confirmed')));
  await Promise.all(ids.map(orders.handOver));
  await Promise.all(ids.map((id) => orders.reaches(id, 'shipped')));
  await orders.expectEachOnce(ids);
});

test('where no answer comes, the provider’s webhooks alone confirm an order and see it paid', async () => {
  const id = await orders.placed('tok_late');
  await orders.reaches(id, 'confirmed', BY_WEBHOOK_ALONE_MS);
  await orders.handOver(id);
  await orders.reaches(id, 'shipped', BY_WEBHOOK_ALONE_MS);
  await orders.expectEachOnce([id]);
});

test('a card that is declined rejects the order, and nothing is held', async () => {
  const id = await orders.placed('tok_declined');
  await orders.reaches(id, 'rejected');
  expect(await orders.moved([id])).toEqual([]);
});
