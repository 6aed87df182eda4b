import { gbp } from '@sidecart/contracts/money';
import { expect, test } from 'vitest';
import { type Answer, type Gateway, GatewayUnreachableError } from '../../clients/gateway-client.ts';
import { createShopApi } from '../../clients/shop-api.ts';
import { createFakeShop } from '../../clients/testing/fake-shop.ts';
import {
  type Customers,
  endsOf,
  MUG,
  PIECES,
  type Placed,
  paymentsOf,
  placeOrders,
  sell,
  stockAtRest,
} from './orders.ts';
import { checksOf } from './verdict.ts';

/** Customers of a shop in memory, one of whose answers to an order is another now and then. */
function open(spoil: (n: number, answer: Answer) => Answer = (_, answer) => answer) {
  const shop = createFakeShop();
  const keys: string[] = [];
  const gateway: Gateway = {
    ...shop.gateway,
    async send(ask) {
      const answer = await shop.gateway.send(ask);
      if (ask.method !== 'POST' || ask.path !== '/v1/orders') return answer;
      return spoil(keys.push(ask.key ?? ''), answer);
    },
  };
  const signal = new AbortController().signal;
  const customers = (run: string): Customers => ({
    shop: createShopApi(gateway),
    run,
    signal,
    patienceMs: 5_000,
  });
  return { shop, keys, customers };
}

async function runOnce(customers: Customers, orders: number, whilePlacing = () => {}) {
  const price = await sell(customers, orders);
  const before = await customers.shop.stockOf(MUG.sku);
  const placed: Placed[] = [];
  const onPlaced = (one: Placed) => {
    placed.push(one);
    whilePlacing();
  };
  await placeOrders(customers, { orders, everyMs: 1, price, onPlaced });
  const ended = (await endsOf(customers, placed)).map(({ order }) => order);
  const after = await stockAtRest(customers, before);
  const payments = await paymentsOf(customers, ended);
  const deadLetters = { before: new Map(), after: new Map() };
  return checksOf({ wanted: orders, orders: ended, payments, stock: { before, after }, deadLetters });
}

test('every order is confirmed at the price of the day, again and again, also when that changes meanwhile', async () => {
  const { shop, customers } = open();
  expect((await runOnce(customers('a'), 3)).flatMap(({ faults }) => faults)).toEqual([]);
  await shop.setPrice(MUG.sku, gbp(1300));
  const checks = await runOnce(customers('b'), 3, () => void shop.setPrice(MUG.sku, gbp(1400)));
  expect(checks.flatMap(({ faults }) => faults)).toEqual([]);
  expect([...shop.placedOrders.values()].map(({ total }) => total.amount)).toEqual(
    [1195, 1195, 1195, 1300, 1400, 1400].map((price) => PIECES * price),
  );
});

test('an order that is refused for an outage, or whose answer is lost, is sent again with the same key', async () => {
  const { shop, keys, customers } = open((n, answer) => {
    if (n === 1) return { ...answer, status: 503, body: 'away' };
    if (n === 2) throw new GatewayUnreachableError('gone');
    return answer;
  });
  const checks = await runOnce(customers('a'), 2);
  expect(checks.flatMap(({ faults }) => faults)).toEqual([]);
  expect(keys).toEqual(['a-0', 'a-0', 'a-0', 'a-1']);
  expect(shop.placedOrders.size).toBe(2);
});

test('control: what is no outage ends it', async () => {
  const { customers } = open((_, answer) => ({ ...answer, status: 422, body: 'no' }));
  await expect(runOnce(customers('a'), 1)).rejects.toThrow('answered 422');
});
