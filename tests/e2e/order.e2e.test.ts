import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openShop } from './open-shop.ts';
import {
  call,
  DATABASES,
  deadLetters,
  gbp,
  orderEnds,
  orderStatus,
  placeOrder,
  productWithStock,
  query,
  stockOf,
  type Target,
  until,
} from './shop.ts';

let shop: Target;
let url: string;

beforeAll(async () => {
  shop = await openShop();
  url = shop.gatewayUrl;
});
afterAll(async () => {
  await shop?.stop();
});

const countOrders = async () =>
  Number((await query<{ n: string }>(shop, 'orders', 'SELECT count(*) AS n FROM streams'))[0]?.n);

describe('an order through the gateway', () => {
  test('is confirmed, moves stock once, and keeps the books', async () => {
    const sku = await productWithStock(url, 10);
    const placed = await placeOrder(url, [{ sku, quantity: 3 }]);
    expect(placed.status).toBe(201);
    expect(placed.headers.get('location')).toBe(`/v1/orders/${placed.body.id}`);
    expect(placed.body).toMatchObject({ status: 'placed', total: gbp(750) });
    expect(await orderEnds(url, placed.body.id)).toBe('confirmed');
    await until('the stock to be committed', async () => (await stockOf(url, sku)).committed === 3);
    expect(await stockOf(url, sku)).toMatchObject({ received: 10, on_hand: 7, reserved: 0, committed: 3 });
    const joined = await call(url, 'GET', `/v1/orders/${placed.body.id}`);
    expect(joined.body.lines[0].name).toBe(`Test ${sku}`);
    expect(joined.body.missing).toBeUndefined();
  });

  test('is rejected as a whole for lack of stock, naming the lines at fault', async () => {
    const enough = await productWithStock(url, 5);
    const short = await productWithStock(url, 1);
    const placed = await placeOrder(url, [
      { sku: enough, quantity: 2 },
      { sku: short, quantity: 2 },
    ]);
    expect(await orderEnds(url, placed.body.id)).toBe('rejected');
    const order = (await call(url, 'GET', `/v1/orders/${placed.body.id}`)).body;
    expect(order.rejection).toMatchObject({
      reason: 'out_of_stock',
      lines: [{ sku: short, requested: 2, available: 1 }],
    });
    expect(await stockOf(url, enough)).toMatchObject({ on_hand: 5, reserved: 0 });
  });

  test('of eight for the last unit, one is confirmed and seven are rejected', async () => {
    const sku = await productWithStock(url, 1);
    const orders = await Promise.all(
      Array.from({ length: 8 }, () => placeOrder(url, [{ sku, quantity: 1 }])),
    );
    const ends = await Promise.all(orders.map((placed) => orderEnds(url, placed.body.id)));
    expect(ends.filter((end) => end === 'confirmed')).toHaveLength(1);
    expect(ends.filter((end) => end === 'rejected')).toHaveLength(7);
    await until('the unit to be committed', async () => (await stockOf(url, sku)).committed === 1);
    expect(await stockOf(url, sku)).toMatchObject({ received: 1, on_hand: 0, reserved: 0, committed: 1 });
  });

  test('with a stale price gets 409 with the new one, stores nothing and leaves the key unused', async () => {
    const sku = await productWithStock(url, 5);
    const changed = await call(url, 'PUT', `/v1/products/${sku}/price`, { body: { unit_price: gbp(300) } });
    expect(changed.body.changed).toBe(true);
    const before = await countOrders();
    const stale = await placeOrder(url, [{ sku, quantity: 1 }], { key: `stale-${sku}` });
    expect(stale.status).toBe(409);
    expect(stale.body.code).toBe('price_changed');
    expect(stale.body.errors[0]).toMatchObject({ pointer: '/lines/0/unit_price', current: gbp(300) });
    expect(await countOrders()).toBe(before);
    const again = await placeOrder(url, [{ sku, quantity: 1, price: 300 }], { key: `stale-${sku}` });
    expect(again.status).toBe(201);
  });

  test('with the same idempotency key: same body the same order, another body 422', async () => {
    const sku = await productWithStock(url, 5);
    const key = `key-${sku}`;
    const together = await Promise.all(
      Array.from({ length: 6 }, () => placeOrder(url, [{ sku, quantity: 1 }], { key })),
    );
    expect(new Set(together.map((answer) => answer.body.id)).size).toBe(1);
    expect(together.filter((answer) => answer.status === 201)).toHaveLength(1);
    const other = await placeOrder(url, [{ sku, quantity: 2 }], { key });
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused']);
  });

  test('can be cancelled before it leaves, and its stock comes back', async () => {
    const sku = await productWithStock(url, 4);
    const placed = await placeOrder(url, [{ sku, quantity: 4 }]);
    await orderEnds(url, placed.body.id);
    const asked = await call(url, 'POST', `/v1/orders/${placed.body.id}/cancel`, {
      body: { reason: 'changed my mind' },
    });
    // Shipping is asked first whether it can still be stopped.
    expect([asked.status, asked.body.status, asked.body.progress.step]).toEqual([202, 'confirmed', 'cancel']);
    await until('shipping’s answer', async () => (await orderStatus(url, placed.body.id)) === 'cancelled');
    const again = await call(url, 'POST', `/v1/orders/${placed.body.id}/cancel`, { body: {} });
    expect(again.status).toBe(200);
    await until('the stock to be back', async () => (await stockOf(url, sku)).on_hand === 4);
    expect(await stockOf(url, sku)).toMatchObject({ received: 4, on_hand: 4, reserved: 0, committed: 0 });
  });

  test('keeps one trace from the request through outbox, broker and both services', async () => {
    const sku = await productWithStock(url, 1);
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    const placed = await placeOrder(url, [{ sku, quantity: 1 }], {
      headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01`, 'x-request-id': `req-${sku}` },
    });
    expect(placed.headers.get('x-request-id')).toBe(`req-${sku}`);
    await orderEnds(url, placed.body.id);
    for (const service of ['gateway', 'orders', 'inventory'])
      await until(`the trace in the log of ${service}`, async () =>
        (await shop.log(service)).includes(`"trace_id":"${traceId}"`),
      );
  });

  test('leaves no dead letter and an empty outbox', async () => {
    expect(await deadLetters(shop)).toEqual([]);
    for (const database of DATABASES)
      await until(
        `an empty outbox in ${database}`,
        async () => (await query(shop, database, 'SELECT 1 FROM outbox')).length === 0,
      );
  });
});

describe('with products away', () => {
  test('a new order gets 503 with Retry-After and nothing is stored; an old one is still told, without names', async () => {
    const sku = await productWithStock(url, 2);
    const placed = await placeOrder(url, [{ sku, quantity: 1 }]);
    await orderEnds(url, placed.body.id);
    const before = await countOrders();
    await shop.hold('products');
    try {
      const refused = await placeOrder(url, [{ sku, quantity: 1 }], { key: `away-${sku}` });
      expect(refused.status).toBe(503);
      expect(refused.body.code).toBe('products_unavailable');
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(await countOrders()).toBe(before);
      const told = await call(url, 'GET', `/v1/orders/${placed.body.id}`);
      expect(told.status).toBe(200);
      expect(told.body).toMatchObject({
        id: placed.body.id,
        status: 'confirmed',
        missing: ['product_names'],
      });
      expect(told.body.lines[0].name).toBeUndefined();
    } finally {
      await shop.release('products');
    }
    const accepted = await until('the same key to be accepted', async () => {
      const answer = await placeOrder(url, [{ sku, quantity: 1 }], { key: `away-${sku}` });
      return answer.status === 201 ? answer : undefined;
    });
    expect(await orderEnds(url, accepted.body.id)).toBe('confirmed');
    expect(await orderStatus(url, placed.body.id)).toBe('confirmed');
  });
});
