import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Receipt, Stock } from '@sidecart/contracts/inventory';
import { gbp, Money, sameMoney } from '@sidecart/contracts/money';
import { type NewOrder, Order, OrderView } from '@sidecart/contracts/orders';
import { PriceSet, Product } from '@sidecart/contracts/products';
import { z } from 'zod';
import { type Answer, type Ask, type Gateway, problemOf, read } from '../gateway-client.ts';
import type { Transcript } from './transcript.ts';

/** The shop behaved in another way than the walk expects. */
export class WalkError extends Error {
  override name = 'WalkError';
}

export interface Walk {
  gateway: Gateway;
  transcript: Transcript;
  signal: AbortSignal;
}

/** The demo's own catalogue. The lamp never gets stock; the price of the mug changes at each walk. */
const TEAPOT = { sku: 'DEMO-TEAPOT', name: 'Stoneware teapot', unit_price: gbp(2450) };
const MUG = { sku: 'DEMO-MUG', name: 'Enamel mug', unit_price: gbp(895) };
const LAMP = { sku: 'DEMO-LAMP', name: 'Brass desk lamp', unit_price: gbp(6900) };
const OTHER_MUG_PRICE = gbp(950);

const LOOK_EVERY_MS = 100;
const END_WITHIN_MS = 60_000;

/** Walks through the shop as a client would. Throws WalkError or RefusedError at the first thing not as expected. */
export async function walk(shop: Walk): Promise<void> {
  await sellProducts(shop);
  await receiveStock(shop);
  await listProducts(shop);
  await orderToConfirmed(shop);
  await orderToRejected(shop);
  await orderAtStalePrice(shop);
}

async function sellProducts(shop: Walk): Promise<void> {
  shop.transcript.step('Put products on sale');
  for (const product of [TEAPOT, MUG, LAMP]) {
    const ask: Ask = { method: 'POST', path: '/v1/products', body: product };
    const answer = await tell(shop, ask);
    if (problemOf(answer)?.code !== 'product_exists') read(ask, answer, Product, 200, 201);
  }
}

async function receiveStock(shop: Walk): Promise<void> {
  shop.transcript.step('Receive stock');
  const lines = [
    { sku: TEAPOT.sku, quantity: 1 },
    { sku: MUG.sku, quantity: 2 },
  ];
  const ask: Ask = { method: 'POST', path: '/v1/stock/receipts', key: newKey(), body: { lines } };
  read(ask, await tell(shop, ask), Receipt, 201);
}

async function listProducts(shop: Walk): Promise<void> {
  shop.transcript.step('List products');
  const ask: Ask = { method: 'GET', path: '/v1/products?limit=10' };
  const { items } = read(ask, await tell(shop, ask), z.object({ items: z.array(Product) }), 200);
  expect(items.length >= 3, 'at least the three products of the demo');
}

async function orderToConfirmed(shop: Walk): Promise<void> {
  shop.transcript.step('Order what is in stock');
  const teapot = await look(shop, TEAPOT.sku);
  const mug = await look(shop, MUG.sku);
  const order = await place(shop, {
    customer_id: 'demo',
    lines: [
      { sku: TEAPOT.sku, quantity: 1, unit_price: teapot },
      { sku: MUG.sku, quantity: 2, unit_price: mug },
    ],
  });
  expect(order.total.amount === teapot.amount + 2 * mug.amount, 'a total that is the sum of the lines');
  const ended = await follow(shop, order);
  expect(ended.status === 'confirmed', 'the order to be confirmed');
}

async function orderToRejected(shop: Walk): Promise<void> {
  shop.transcript.step('Order more than is in stock');
  const onHand = await lookAtStock(shop, LAMP.sku);
  const lamp = await look(shop, LAMP.sku);
  const quantity = onHand + 1;
  const lines = [{ sku: LAMP.sku, quantity, unit_price: lamp }];
  const ended = await follow(shop, await place(shop, { customer_id: 'demo', lines }));
  expect(ended.status === 'rejected', 'the order to be rejected');
  expect(ended.rejection?.lines[0]?.sku === LAMP.sku, 'the rejection to name the line at fault');
}

async function orderAtStalePrice(shop: Walk): Promise<void> {
  shop.transcript.step('Order at a price that has just changed');
  const stale = await look(shop, MUG.sku);
  const fresh = sameMoney(stale, OTHER_MUG_PRICE) ? MUG.unit_price : OTHER_MUG_PRICE;
  const change: Ask = { method: 'PUT', path: `/v1/products/${MUG.sku}/price`, body: { unit_price: fresh } };
  read(change, await tell(shop, change), PriceSet, 200);

  const lines = [{ sku: MUG.sku, quantity: 1, unit_price: stale }];
  const ask: Ask = {
    method: 'POST',
    path: '/v1/orders',
    key: newKey(),
    body: { customer_id: 'demo', lines },
  };
  const answer = await tell(shop, ask);
  expect(problemOf(answer)?.code === 'price_changed', 'the order to be refused for its price');
  const changed = z.object({ errors: z.tuple([z.object({ pointer: z.string(), current: Money })]) });
  const [error] = read(ask, answer, changed, 409).errors;
  expect(error.pointer === '/lines/0/unit_price', 'the place at fault to be named');
  expect(sameMoney(error.current, fresh), 'the new price to be told');
}

/** The current price of a product. */
async function look(shop: Walk, sku: string): Promise<Money> {
  const ask: Ask = { method: 'GET', path: `/v1/products/${sku}` };
  return read(ask, await tell(shop, ask), Product, 200).unit_price;
}

/** Pieces on hand; none of a product that stock has not heard of. */
async function lookAtStock(shop: Walk, sku: string): Promise<number> {
  const ask: Ask = { method: 'GET', path: `/v1/stock/${sku}` };
  const answer = await tell(shop, ask);
  return answer.status === 404 ? 0 : read(ask, answer, Stock, 200).on_hand;
}

async function place(shop: Walk, order: NewOrder): Promise<Order> {
  const ask: Ask = { method: 'POST', path: '/v1/orders', key: newKey(), body: order };
  return read(ask, await tell(shop, ask), Order, 201);
}

/** Asks until the order has ended; only the last answer is printed. */
async function follow({ gateway, transcript, signal }: Walk, { id }: Order): Promise<OrderView> {
  const ask: Ask = { method: 'GET', path: `/v1/orders/${id}` };
  const deadline = performance.now() + END_WITHIN_MS;
  for (let times = 1; ; times++) {
    const answer = await gateway.send(ask);
    const order = read(ask, answer, OrderView, 200);
    if (order.status !== 'placed') {
      transcript.exchange(ask, answer);
      transcript.note(`asked ${times} ${times === 1 ? 'time' : 'times'} until it was ${order.status}`);
      return order;
    }
    expect(performance.now() < deadline, `order ${id} to end within ${END_WITHIN_MS / 1000} s`);
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
}

async function tell({ gateway, transcript }: Walk, ask: Ask): Promise<Answer> {
  const answer = await gateway.send(ask);
  transcript.exchange(ask, answer);
  return answer;
}

function expect(condition: boolean, what: string): asserts condition {
  if (!condition) throw new WalkError(`Not as expected: expected ${what}.`);
}

function newKey(): string {
  return `demo-${randomUUID()}`;
}
