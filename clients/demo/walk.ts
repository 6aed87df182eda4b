import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Receipt, Stock } from '@sidecart/contracts/inventory';
import { gbp, Money, sameMoney } from '@sidecart/contracts/money';
import {
  HistoryEntry,
  type NewOrderInput,
  type NewRefund,
  Order,
  OrderView,
} from '@sidecart/contracts/orders';
import { Payment } from '@sidecart/contracts/payments';
import { PriceSet, Product } from '@sidecart/contracts/products';
import { Shipment } from '@sidecart/contracts/shipping';
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

/** The demo's own catalogue. The lamp never gets stock; the price of the mug changes at the end of each walk. */
const TEAPOT = { sku: 'DEMO-TEAPOT', name: 'Stoneware teapot', unit_price: gbp(2450) };
const MUG = { sku: 'DEMO-MUG', name: 'Enamel mug', unit_price: gbp(895) };
const LAMP = { sku: 'DEMO-LAMP', name: 'Brass desk lamp', unit_price: gbp(6900) };
const OTHER_MUG_PRICE = gbp(950);

const LOOK_EVERY_MS = 100;
const WITHIN_MS = 60_000;

/**
 * Walks through the shop as a customer, a warehouse and a clerk would. Throws WalkError or RefusedError at the first thing not as
 * expected.
 */
export async function walk(shop: Walk): Promise<void> {
  await sellProducts(shop);
  await receiveStock(shop);
  await listProducts(shop);
  const order = await orderToConfirmed(shop);
  await sendOff(shop, order);
  await bringBack(shop, order);
  await readHistory(shop, order);
  await orderToDeclined(shop);
  await cancelBeforeItLeaves(shop);
  await settleByHand(shop);
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
    { sku: TEAPOT.sku, quantity: 2 },
    { sku: MUG.sku, quantity: 3 },
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

async function orderToConfirmed(shop: Walk): Promise<OrderView> {
  shop.transcript.step('Order what is in stock: it is set aside, and the money held');
  const teapot = await look(shop, TEAPOT.sku);
  const mug = await look(shop, MUG.sku);
  const order = await place(shop, {
    customer_id: 'demo',
    lines: [
      { sku: TEAPOT.sku, quantity: 1, unit_price: teapot },
      { sku: MUG.sku, quantity: 2, unit_price: mug },
    ],
    payment_token: 'tok_ok',
  });
  expect(order.total.amount === teapot.amount + 2 * mug.amount, 'a total that is the sum of the lines');
  const confirmed = await followToConfirmed(shop, order);
  const payment = await lookAtPayment(shop, order);
  expect(payment.status === 'authorised', 'the money to be held');
  expect(
    sameMoney(payment.authorised, order.total) && payment.captured.amount === 0,
    'nothing to be taken yet',
  );
  return confirmed;
}

async function sendOff(shop: Walk, order: Order): Promise<void> {
  shop.transcript.step('Pack it and hand it over: now it is paid for');
  const { id } = await followToShipment(shop, order);
  const early = await tell(shop, handOverAsk(id));
  expect(problemOf(early)?.code === 'not_all_packed', 'pieces that are in no package not to leave');
  await pack(shop, id, { weight_grams: 1900, lines: [{ sku: TEAPOT.sku, quantity: 1 }] });
  await pack(shop, id, {});
  await handOver(shop, id);
  const shipped = await follow(shop, order, 'shipped', ({ status }) => status === 'shipped');
  expect(shipped.paid !== undefined && sameMoney(shipped.paid, order.total), 'the whole order to be paid');
  const payment = await lookAtPayment(shop, order);
  expect(sameMoney(payment.captured, order.total), 'what was held to be taken, once');

  shop.transcript.step('Deliver it');
  await deliver(shop, id);
  await follow(shop, order, 'delivered', ({ status }) => status === 'delivered');
}

async function bringBack(shop: Walk, order: Order): Promise<void> {
  shop.transcript.step('One mug comes back: its money is given back, and it is on the shelf again');
  const before = await lookAtStock(shop, MUG.sku);
  const price = order.lines.find((line) => line.sku === MUG.sku)?.unit_price ?? gbp(0);
  const returned = { lines: [{ sku: MUG.sku, quantity: 1 }], restock: true, reason: 'chipped' };
  await askRefund(shop, order, returned);
  const refunded = await follow(
    shop,
    order,
    'refunded',
    (now) => now.refunded !== undefined && now.progress === undefined,
  );
  expect(refunded.refunded?.amount === price.amount, 'the price of one mug to be given back');
  const line = refunded.lines.find(({ sku }) => sku === MUG.sku);
  expect(line?.refunded === 1 && line.restocked === 1, 'the line to tell of it');
  const payment = await lookAtPayment(shop, order);
  expect(sameMoney(payment.refunded, price), 'payments to have given back as much');
  await followStock(shop, MUG.sku, before + 1);
}

async function readHistory(shop: Walk, order: Order): Promise<void> {
  shop.transcript.step('Read what has happened to it');
  const ask: Ask = { method: 'GET', path: `/v1/orders/${order.id}/history` };
  const { items } = read(ask, await tell(shop, ask), z.object({ items: z.array(HistoryEntry) }), 200);
  const types = items.map(({ type }) => type);
  shop.transcript.note(types.join(', '));
  const told = ['OrderPlaced', 'OrderConfirmed', 'OrderShipped', 'OrderDelivered', 'OrderRefunded'];
  expect(
    told.every((type, i) => types.indexOf(type) > (i > 0 ? types.indexOf(told[i - 1] as string) : -1)),
    'its steps, in their order',
  );
}

async function orderToDeclined(shop: Walk): Promise<void> {
  shop.transcript.step('Order with a card that is declined');
  const before = await lookAtStock(shop, TEAPOT.sku);
  const order = await placeOne(shop, TEAPOT.sku, 'tok_declined');
  const ended = await follow(shop, order, 'rejected', ({ status }) => status === 'rejected');
  expect(ended.rejection?.reason === 'payment_declined', 'the order to be rejected for its payment');
  await followStock(shop, TEAPOT.sku, before);
}

async function cancelBeforeItLeaves(shop: Walk): Promise<void> {
  shop.transcript.step('Cancel an order before it leaves: nothing is taken');
  const before = await lookAtStock(shop, TEAPOT.sku);
  const order = await placeOne(shop, TEAPOT.sku, 'tok_ok');
  await followToConfirmed(shop, order);
  const ask: Ask = {
    method: 'POST',
    path: `/v1/orders/${order.id}/cancel`,
    body: { reason: 'a change of mind' },
  };
  const asked = read(ask, await tell(shop, ask), Order, 200, 202);
  expect(asked.status === 'cancelled' || asked.progress?.step === 'cancel', 'shipping to be asked first');
  await follow(shop, order, 'cancelled', ({ status }) => status === 'cancelled');
  const payment = await followPayment(shop, order, ({ status }) => status === 'voided');
  expect(payment.captured.amount === 0, 'nothing to be taken');
  await followStock(shop, TEAPOT.sku, before);
}

async function settleByHand(shop: Walk): Promise<void> {
  shop.transcript.step('An order that needs a person: the provider refuses to give the money back');
  const order = await placeOne(shop, MUG.sku, 'tok_refund_refused');
  await followToConfirmed(shop, order);
  const { id } = await followToShipment(shop, order);
  await pack(shop, id, {});
  await handOver(shop, id);
  await follow(shop, order, 'shipped', ({ status }) => status === 'shipped');
  await deliver(shop, id);
  await follow(shop, order, 'delivered', ({ status }) => status === 'delivered');
  await askRefund(shop, order, { restock: false, reason: 'arrived broken' });
  const { progress } = await follow(shop, order, 'in need of a person', isInNeed);
  expect(progress?.problem !== undefined, 'to be told what it is about');

  shop.transcript.step('Settle it by hand');
  await followAttention(shop, order);
  const ask: Ask = {
    method: 'POST',
    path: `/v1/orders/${order.id}/settlement`,
    body: {
      problem: progress?.problem_code,
      refund_id: progress?.refund_id,
      resolution: 'done_elsewhere',
      note: 'paid back by bank transfer',
    },
  };
  const settled = read(ask, await tell(shop, ask), Order, 200);
  expect(settled.progress === undefined, 'nothing to be left to do');
}

async function orderToRejected(shop: Walk): Promise<void> {
  shop.transcript.step('Order more than is in stock');
  const onHand = await lookAtStock(shop, LAMP.sku);
  const lamp = await look(shop, LAMP.sku);
  const lines = [{ sku: LAMP.sku, quantity: onHand + 1, unit_price: lamp }];
  const order = await place(shop, { customer_id: 'demo', lines });
  const ended = await follow(shop, order, 'rejected', ({ status }) => status === 'rejected');
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

async function lookAtPayment(shop: Walk, { id }: Order): Promise<Payment> {
  const ask: Ask = { method: 'GET', path: `/v1/payments?order_id=${id}` };
  const [payment] = read(ask, await tell(shop, ask), z.object({ items: z.array(Payment) }), 200).items;
  expect(payment !== undefined, `order ${id} to have a payment`);
  return payment;
}

async function place(shop: Walk, order: NewOrderInput): Promise<Order> {
  const ask: Ask = { method: 'POST', path: '/v1/orders', key: newKey(), body: order };
  return read(ask, await tell(shop, ask), Order, 201);
}

async function placeOne(shop: Walk, sku: string, payment_token: string): Promise<Order> {
  const unit_price = await look(shop, sku);
  const lines = [{ sku, quantity: 1, unit_price }];
  return place(shop, { customer_id: 'demo', lines, payment_token });
}

async function pack(shop: Walk, shipmentId: string, body: object): Promise<void> {
  const ask: Ask = { method: 'POST', path: `/v1/shipments/${shipmentId}/packages`, key: newKey(), body };
  read(ask, await tell(shop, ask), Shipment, 201);
}

function handOverAsk(shipmentId: string): Ask {
  const body = { carrier: 'Royal Mail', tracking: 'AB123456785GB' };
  return { method: 'POST', path: `/v1/shipments/${shipmentId}/hand-over`, body };
}

async function handOver(shop: Walk, shipmentId: string): Promise<void> {
  const ask = handOverAsk(shipmentId);
  read(ask, await tell(shop, ask), Shipment, 200);
}

async function deliver(shop: Walk, shipmentId: string): Promise<void> {
  const ask: Ask = { method: 'POST', path: `/v1/shipments/${shipmentId}/deliver` };
  const { status } = read(ask, await tell(shop, ask), Shipment, 200);
  expect(status === 'delivered', 'the shipment to be delivered');
}

async function askRefund(shop: Walk, order: Order, body: NewRefund): Promise<void> {
  const ask: Ask = { method: 'POST', path: `/v1/orders/${order.id}/refunds`, key: newKey(), body };
  read(ask, await tell(shop, ask), Order, 202);
}

function isInNeed({ progress }: Order): boolean {
  return progress?.step === 'person';
}

async function followToConfirmed(shop: Walk, order: Order): Promise<OrderView> {
  const ended = await follow(shop, order, 'confirmed or rejected', ({ status }) => status !== 'placed');
  expect(ended.status === 'confirmed', 'the order to be confirmed');
  return ended;
}

function follow(
  shop: Walk,
  { id }: Order,
  what: string,
  isSo: (order: OrderView) => boolean,
): Promise<OrderView> {
  const ask: Ask = { method: 'GET', path: `/v1/orders/${id}` };
  return askUntil(shop, ask, OrderView, `order ${id} to be ${what}`, isSo);
}

/** Shipping hears of an order a moment after its confirmation. */
async function followToShipment(shop: Walk, { id }: Order): Promise<{ id: string }> {
  const ask: Ask = { method: 'GET', path: `/v1/shipments?order_id=${id}` };
  const list = z.object({ items: z.array(Shipment.pick({ id: true })) });
  const { items } = await askUntil(shop, ask, list, `order ${id} to have a shipment`, isNotEmpty);
  return items[0] as { id: string };
}

async function followPayment(
  shop: Walk,
  { id }: Order,
  isSo: (payment: Payment) => boolean,
): Promise<Payment> {
  const ask: Ask = { method: 'GET', path: `/v1/payments?order_id=${id}` };
  const list = z.object({ items: z.array(Payment) });
  const { items } = await askUntil(shop, ask, list, `the payment of order ${id} to follow`, (now) =>
    now.items.some(isSo),
  );
  return items[0] as Payment;
}

/** Stock follows by messages. Others may be at it too, so there may be more. */
async function followStock(shop: Walk, sku: string, onHand: number): Promise<void> {
  const ask: Ask = { method: 'GET', path: `/v1/stock/${sku}` };
  await askUntil(shop, ask, Stock, `${onHand} of ${sku} to be on hand`, (now) => now.on_hand >= onHand);
}

/** The list is a read model, a moment behind. */
async function followAttention(shop: Walk, { id }: Order): Promise<void> {
  const ask: Ask = { method: 'GET', path: '/v1/orders?attention=true' };
  const list = z.object({ items: z.array(Order.pick({ id: true })) });
  await askUntil(shop, ask, list, `order ${id} to be among those that need a person`, ({ items }) =>
    items.some((one) => one.id === id),
  );
}

function isNotEmpty({ items }: { items: unknown[] }): boolean {
  return items.length > 0;
}

/** Asks until the answer is so; only the last one is printed. */
async function askUntil<S extends z.ZodType>(
  { gateway, transcript, signal }: Walk,
  ask: Ask,
  schema: S,
  what: string,
  isSo: (body: z.output<S>) => boolean,
): Promise<z.output<S>> {
  const deadline = performance.now() + WITHIN_MS;
  for (let times = 1; ; times++) {
    const answer = await gateway.send(ask);
    const body = read(ask, answer, schema, 200);
    if (isSo(body)) {
      transcript.exchange(ask, answer);
      if (times > 1) transcript.note(`asked ${times} times`);
      return body;
    }
    expect(performance.now() < deadline, `${what} within ${WITHIN_MS / 1000} s`);
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
