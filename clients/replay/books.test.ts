import { gbp } from '@sidecart/contracts/money';
import type { Order } from '@sidecart/contracts/orders';
import { describe, expect, test } from 'vitest';
import { createFakeShop } from '../testing/fake-shop.ts';
import { keepBooks, ordersToRead, readOrders, takeBooks } from './books.ts';

const order = (id: string, status: Order['status'], changes: Partial<Order> = {}): Order => ({
  id,
  status,
  lines: [{ sku: 'A', quantity: 2, unit_price: gbp(85), line_total: gbp(170) }],
  total: gbp(170),
  placed_at: '2026-01-01T12:00:00.000Z',
  updated_at: '2026-01-01T12:00:00.000Z',
  ...changes,
});
const stock = (changes = {}) => ({
  sku: 'A',
  received: 10,
  on_hand: 8,
  reserved: 0,
  committed: 2,
  ...changes,
});

test('books that agree', async () => {
  const orders = [order('1', 'confirmed'), order('2', 'rejected'), order('3', 'cancelled')];
  expect(await keepBooks(orders, [stock()])).toEqual({
    products: 1,
    received: 10,
    onHand: 8,
    reserved: 0,
    committed: 2,
    confirmedPieces: 2,
    orders: 3,
    confirmedOrders: 1,
    ordersTotal: 510,
    faults: [],
    unsettled: [],
  });
});

describe('what does not agree is told', () => {
  test.each([
    [
      'stock that is lost',
      [order('1', 'confirmed')],
      [stock({ on_hand: 7 })],
      'A: received 10, but 7 + 0 + 2 are there',
    ],
    [
      'stock committed to nobody',
      [order('1', 'cancelled')],
      [stock()],
      'A: 2 committed, but 0 on confirmed orders',
    ],
    [
      'too little committed',
      [order('1', 'confirmed'), order('2', 'confirmed')],
      [stock()],
      'A: 2 committed, but 4 on confirmed orders',
    ],
    ['no stock entry', [order('1', 'confirmed')], [], 'A: 2 on confirmed orders, but no stock'],
    [
      'a wrong total, of an order in any state',
      [order('1', 'rejected', { total: gbp(171) })],
      [],
      'order 1: total 171, but its lines come to 170 pence',
    ],
    [
      'a wrong line total',
      [
        order('1', 'rejected', {
          lines: [{ sku: 'A', quantity: 2, unit_price: gbp(85), line_total: gbp(169) }],
        }),
      ],
      [],
      'order 1, A: line total 169, but 2 x 85 pence',
    ],
  ])('%s', async (_, orders, entries, fault) => {
    expect(await keepBooks(orders, entries)).toMatchObject({ faults: [fault], unsettled: [] });
  });
});

test('what is still on its way is told', async () => {
  const books = await keepBooks([order('1', 'placed')], [stock({ on_hand: 8, reserved: 2, committed: 0 })]);
  expect(books).toMatchObject({
    faults: [],
    unsettled: [expect.stringContaining('1 orders'), '2 pieces are still reserved'],
  });
});

test('orders whose lines are not known are found and read', async () => {
  const all = ['1', '2', '3'].map((id) => order(id, 'confirmed'));
  const shop = {
    ...createFakeShop(),
    async *orders() {
      yield* all;
    },
    order: async (id: string) => order(id, 'confirmed'),
  };
  const known = new Map([['2', order('2', 'confirmed').lines]]);
  const ids = await ordersToRead(shop, known);
  expect(ids).toEqual(['1', '3']);
  let read = 0;
  await readOrders(shop, ids, known, () => {
    read++;
  });
  expect(read).toBe(2);
  expect([...known.keys()].sort()).toEqual(['1', '2', '3']);
});

describe('books are taken', () => {
  const shop = (...takes: ReturnType<typeof stock>[]) => {
    let take = 0;
    return {
      ...createFakeShop(),
      async *orders() {
        yield order('1', 'confirmed');
      },
      async *stock() {
        yield takes[Math.min(take++, takes.length - 1)] as ReturnType<typeof stock>;
      },
    };
  };
  const options = {
    signal: new AbortController().signal,
    knownLines: new Map([['1', order('1', 'placed').lines]]),
  };

  test('again until the events of the last orders have arrived', async () => {
    const late = shop(stock({ reserved: 2, committed: 0 }), stock());
    expect(await takeBooks(late, { ...options, patienceMs: 5_000 })).toMatchObject({
      committed: 2,
      faults: [],
      unsettled: [],
    });
  });

  test('with the lines of each order read once', async () => {
    let reads = 0;
    const shopOfOne = {
      ...shop(stock({ reserved: 2, committed: 0 }), stock()),
      async order() {
        reads++;
        return order('1', 'confirmed');
      },
    };
    const books = await takeBooks(shopOfOne, { ...options, knownLines: new Map(), patienceMs: 5_000 });
    expect(books).toMatchObject({ confirmedPieces: 2, faults: [] });
    expect(reads).toBe(1);
  });

  test('as they are when they do not settle in time', async () => {
    const never = shop(stock({ reserved: 2, committed: 0 }));
    expect(await takeBooks(never, { ...options, patienceMs: 0 })).toMatchObject({ reserved: 2 });
  });
});
