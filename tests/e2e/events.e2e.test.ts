import { afterAll, beforeAll, expect, test } from 'vitest';
import { openShop } from './open-shop.ts';
import { operatorCommand } from './operator.ts';
import { call, orderEnds, placeOrder, productWithStock, query, type Target, until } from './shop.ts';

let shop: Target & { runDir?: string };
beforeAll(async () => {
  shop = await openShop();
});
afterAll(() => shop?.stop());

const events = operatorCommand('events', () => shop);

async function confirmedOrder(): Promise<string> {
  const sku = await productWithStock(shop.gatewayUrl, 9);
  const { body } = await placeOrder(shop.gatewayUrl, [{ sku, quantity: 2 }]);
  expect(await orderEnds(shop.gatewayUrl, body.id)).toBe('confirmed');
  return body.id;
}

const figures = async () => (await call(shop.gatewayUrl, 'GET', '/v1/dashboard')).body;

test('the read model of orders is built anew under those who read it, and says the same', async () => {
  await confirmedOrder();
  await until('the figures to be up to date', async () => (await figures()).pending_events === 0);
  const before = await figures();
  const generation = async () =>
    (
      await query<{ generation: number }>(
        shop,
        'orders',
        "SELECT generation FROM subscriptions WHERE state = 'live'",
      )
    )[0]?.generation ?? 0;
  const live = await generation();
  const status = await events('status');
  expect([status.code, status.output]).toEqual([0, expect.stringContaining('orders')]);
  expect((await events('rebuild', 'orders')).code).toBe(0);
  expect(await generation()).toBe(live + 1);
  expect(await figures()).toEqual(before);
});

test('what happened to an order is told, as it is now and as it was', async () => {
  const id = await confirmedOrder();
  const { output } = await events('history', id);
  for (const word of ['OrderPlaced', 'StockHeld', 'OrderConfirmed']) expect(output).toContain(word);
  const { body } = await call(shop.gatewayUrl, 'GET', `/v1/orders/${id}/history`);
  expect(body.items.map(({ type }: { type: string }) => type)).toEqual([
    'OrderPlaced',
    'StockHeld',
    'OrderConfirmed',
  ]);
  const was = await call(shop.gatewayUrl, 'GET', `/v1/orders/${id}?at=${body.items[1].at}`);
  expect(was.body.progress.step).toBe('authorise');
  expect((await events('show', id, '--at', body.items[0].at)).output).toContain('placed');
});

test('an order is condensed when nothing of it is on its way any more, is what it was, and can be had back', async () => {
  const id = await confirmedOrder();
  const early = await events('condense', id, '--reason', 'to save room');
  expect([early.code, early.output]).toEqual([1, expect.stringContaining('sent')]);
  const { body: order } = await call(shop.gatewayUrl, 'GET', `/v1/orders/${id}`);
  // As if its deadlines had come and its messages were dropped, some weeks later.
  await query(shop, 'orders', `DELETE FROM outbox_delayed WHERE msg_key = '${id}'`);
  await until('its messages to be sent', async () => {
    const waiting = await query(shop, 'orders', `SELECT FROM outbox WHERE msg_key = '${id}'`);
    return waiting.length === 0;
  });
  await query(shop, 'orders', `DELETE FROM sent WHERE msg_key = '${id}'`);
  const condensed = await events('condense', id, '--reason', 'to save room');
  expect([condensed.code, condensed.output]).toEqual([0, expect.any(String)]);
  expect((await call(shop.gatewayUrl, 'GET', `/v1/orders/${id}`)).body).toEqual(order);
  expect((await events('history', id)).output).toContain('to save room');
  expect((await events('restore', id, '--reason', 'to look')).code).toBe(0);
  expect((await call(shop.gatewayUrl, 'GET', `/v1/orders/${id}`)).body).toEqual(order);
});
