import { afterAll, beforeAll, test } from 'vitest';
import { type PaidOrders, paidOrders } from './paid-orders.ts';
import { type LocalShop, productWithStock, testShop, until } from './shop.ts';

let shop: LocalShop;
let orders: PaidOrders;
beforeAll(async () => {
  shop = await testShop();
  orders = paidOrders(shop, await productWithStock(shop.gatewayUrl, 1000));
});
afterAll(async () => {
  await shop?.stop();
});

test.each(['payments', 'payments-dapr', 'provider'])(
  '%s is killed while money is on its way',
  async (name) => {
    const victim = shop.find(name);
    const { restarts } = victim;
    const ids = await Promise.all(['tok_ok', 'tok_slow', 'tok_timeout'].map(orders.placed));
    await until('the first to be asked for', async () => (await orders.moved(ids)).length > 0);
    victim.kill('SIGKILL');
    await Promise.all(ids.map((id) => orders.reaches(id, 'confirmed')));
    await Promise.all(ids.map(orders.handOver));
    await Promise.all(ids.map((id) => orders.reaches(id, 'shipped')));
    await orders.expectEachOnce(ids);
    await until(
      `${name} to be back`,
      async () => victim.restarts > restarts && victim.state === 'ready',
      90_000,
    );
  },
);
