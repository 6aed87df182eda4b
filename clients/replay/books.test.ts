import { gbp } from '@sidecart/contracts/money';
import type { Order } from '@sidecart/contracts/orders';
import type { Payment } from '@sidecart/contracts/payments';
import { describe, expect, test } from 'vitest';
import { createFakeShop } from '../testing/fake-shop.ts';
import { keepBooks, ordersToRead, readOrders, takeBooks } from './books.ts';

const at = '2026-01-01T12:00:00.000Z';
/** Two pieces of 85 pence. */
const order = (id: string, status: Order['status'], changes: Partial<Order> = {}): Order => ({
  id,
  status,
  lines: [{ sku: 'A', quantity: 2, unit_price: gbp(85), line_total: gbp(170) }],
  total: gbp(170),
  placed_at: at,
  updated_at: at,
  ...(status === 'confirmed' && { progress: { step: 'hand_over', since: at, waits_for: 'the carrier' } }),
  ...(['shipped', 'delivered', 'lost'].includes(status) && { paid: gbp(170) }),
  ...changes,
});
const payment = (order_id: string, status: Payment['status'], changes: Partial<Payment> = {}): Payment => ({
  id: `p${order_id}`,
  order_id,
  status,
  authorised: gbp(status === 'declined' ? 0 : 170),
  captured: gbp(status === 'captured' ? 170 : 0),
  refunded: gbp(0),
  operations: [],
  ...changes,
});
const held = payment('1', 'authorised');
const taken = payment('1', 'captured');
const stock = (changes = {}) => ({
  sku: 'A',
  received: 10,
  on_hand: 8,
  reserved: 0,
  committed: 2,
  ...changes,
});
const none = stock({ on_hand: 10, committed: 0 });

test('books that agree', async () => {
  const returned = {
    lines: [{ sku: 'A', quantity: 2, unit_price: gbp(85), line_total: gbp(170), refunded: 1, restocked: 1 }],
    refunded: gbp(85),
  };
  const orders = [
    order('1', 'confirmed'),
    order('2', 'rejected'),
    order('3', 'cancelled'),
    order('4', 'delivered', returned),
    order('5', 'shipped'),
    order('6', 'rejected'),
  ];
  const payments = [
    held,
    payment('3', 'voided'),
    payment('4', 'captured', { refunded: gbp(85) }),
    payment('5', 'captured'),
    payment('6', 'declined'),
  ];
  expect(await keepBooks(orders, [stock({ on_hand: 5, committed: 5 })], payments)).toEqual({
    products: 1,
    received: 10,
    onHand: 5,
    reserved: 0,
    committed: 5,
    orderedPieces: 5,
    orders: 6,
    leftOrders: 2,
    ordersTotal: 1020,
    paid: 340,
    refunded: 85,
    captured: 340,
    paidBack: 85,
    held: 170,
    faults: [],
    unsettled: [],
  });
});

describe('what does not agree is told', () => {
  const line = { sku: 'A', quantity: 2, unit_price: gbp(85), line_total: gbp(170) };
  const notHeld = 'order 1: confirmed, but not all of 170 pence is held';

  test.each<[string, Order[], ReturnType<typeof stock>[], Payment[], ...string[]]>([
    [
      'stock that is lost',
      [order('1', 'confirmed')],
      [stock({ on_hand: 7 })],
      [held],
      'A: received 10, but 7 + 0 + 2 are there',
    ],
    [
      'stock committed to nobody',
      [order('1', 'cancelled')],
      [stock()],
      [],
      'A: 2 committed, but 0 on orders, less what came back',
    ],
    [
      'too little committed',
      [order('1', 'confirmed'), order('2', 'confirmed')],
      [stock()],
      [held, payment('2', 'authorised')],
      'A: 2 committed, but 4 on orders, less what came back',
    ],
    [
      'pieces of a lost order on the shelf',
      [order('1', 'lost')],
      [none],
      [taken],
      'A: 0 committed, but 2 on orders, less what came back',
    ],
    [
      'what came back and is still committed',
      [order('1', 'delivered', { lines: [{ ...line, restocked: 1 }] })],
      [stock()],
      [taken],
      'A: 2 committed, but 1 on orders, less what came back',
    ],
    ['no stock entry', [order('1', 'confirmed')], [], [held], 'A: 2 on orders, but no stock'],
    [
      'a wrong total, of an order in any state',
      [order('1', 'rejected', { total: gbp(171) })],
      [],
      [],
      'order 1: total 171, but its lines come to 170 pence',
    ],
    [
      'a wrong line total',
      [order('1', 'rejected', { lines: [{ ...line, line_total: gbp(169) }] })],
      [],
      [],
      'order 1, A: line total 169, but 2 x 85 pence',
    ],
    [
      'more refunded and come back than was sold',
      [order('1', 'delivered', { lines: [{ ...line, refunded: 3, restocked: 3 }], refunded: gbp(255) })],
      [stock({ on_hand: 11, committed: -1 })],
      [payment('1', 'captured', { captured: gbp(170), refunded: gbp(255) })],
      'order 1, A: 3 refunded, of 2',
      'order 1, A: 3 came back, of 2',
      'payment p1: 170 authorised, 170 captured, 255 refunded',
    ],
    [
      'an order that has left without being paid',
      [order('1', 'shipped', { paid: gbp(0) })],
      [stock()],
      [held],
      'order 1: shipped, its lines come to 170, but 0 pence are paid',
    ],
    [
      'an order paid in part',
      [order('1', 'delivered', { paid: gbp(169) })],
      [stock()],
      [payment('1', 'captured', { captured: gbp(169) })],
      'order 1: delivered, its lines come to 170, but 169 pence are paid',
    ],
    [
      'money taken for what never left',
      [order('1', 'cancelled')],
      [none],
      [taken],
      'order 1: cancelled, but 170 pence are taken',
      'order 1: 0 pence paid, but payments has captured 170',
      'order 1: cancelled, but its payment is captured',
    ],
    [
      'money taken twice',
      [order('1', 'shipped')],
      [stock()],
      [payment('1', 'captured', { authorised: gbp(340), captured: gbp(340) })],
      'order 1: 170 pence paid, but payments has captured 340',
    ],
    [
      'more taken than was held',
      [order('1', 'shipped')],
      [stock()],
      [payment('1', 'captured', { authorised: gbp(100) })],
      'payment p1: 100 authorised, 170 captured, 0 refunded',
    ],
    [
      'money refunded for nothing',
      [order('1', 'delivered', { refunded: gbp(85) })],
      [stock()],
      [payment('1', 'captured', { refunded: gbp(85) })],
      'order 1: 85 pence refunded, but its pieces come to 0',
    ],
    [
      'a refund that payments knows nothing of',
      [order('1', 'delivered', { lines: [{ ...line, refunded: 1 }], refunded: gbp(85) })],
      [stock()],
      [taken],
      'order 1: 85 pence refunded, but payments has given back 0',
    ],
    ['a confirmed order without a payment', [order('1', 'confirmed')], [stock()], [], notHeld],
    [
      'a confirmed order with too little held',
      [order('1', 'confirmed')],
      [stock()],
      [payment('1', 'authorised', { authorised: gbp(169) })],
      notHeld,
    ],
    [
      'money held for an order that is off',
      [order('1', 'rejected')],
      [none],
      [held],
      'order 1: rejected, but its payment is authorised',
    ],
    [
      'two payments for an order',
      [order('1', 'shipped')],
      [stock()],
      [payment('1', 'voided'), taken],
      'order 1: two payments',
    ],
    ['a payment for nobody', [], [none], [held], 'payment p1: there is no order 1'],
  ])('%s', async (_, orders, entries, payments, ...faults) => {
    expect(await keepBooks(orders, entries, payments)).toMatchObject({ faults, unsettled: [] });
  });
});

test('what a person has decided is no fault: nothing was taken, or the money is held for good', async () => {
  const refused = (kind: 'capture' | 'void') => ({
    operations: [{ kind, amount: gbp(170), state: 'refused' as const, attempts: 1, requested_at: at }],
  });
  const { paid: _, ...unpaid } = order('1', 'delivered');
  const orders = [unpaid, order('2', 'cancelled')];
  const payments = [
    payment('1', 'authorised', refused('capture')),
    payment('2', 'authorised', refused('void')),
  ];
  expect(await keepBooks(orders, [stock()], payments)).toMatchObject({ faults: [], unsettled: [] });
});

test('what was settled without an answer is no fault, and told for as long as the money may still come', async () => {
  const asked = {
    operations: [
      {
        kind: 'capture' as const,
        amount: gbp(170),
        state: 'pending' as const,
        attempts: 9,
        requested_at: at,
      },
    ],
  };
  const { paid: _, ...unpaid } = order('1', 'delivered');
  expect(await keepBooks([unpaid], [stock()], [payment('1', 'capturing', asked)])).toMatchObject({
    faults: [],
    unsettled: ['payment p1 is capturing'],
  });
  // Nobody was asked for it: that is looked for.
  expect((await keepBooks([unpaid], [stock()], [held])).faults).toHaveLength(1);
});

test('what is still on its way is told', async () => {
  const waiting = (step: 'capture' | 'cancel' | 'person' | 'deliver') => ({
    progress: { step, since: at, waits_for: 'somebody' },
  });
  const orders = [
    order('1', 'placed'),
    order('2', 'cancelled'),
    order('3', 'confirmed', waiting('capture')),
    order('4', 'confirmed', waiting('capture')),
    order('5', 'delivered', waiting('person')),
    order('6', 'shipped', waiting('deliver')),
  ];
  const payments = [
    payment('2', 'voiding'),
    payment('3', 'capturing'),
    payment('4', 'authorised'),
    payment('5', 'captured'),
    payment('6', 'captured'),
  ];
  const entries = [stock({ on_hand: 0, reserved: 2, committed: 8 })];
  expect(await keepBooks(orders, entries, payments)).toMatchObject({
    faults: [],
    unsettled: [
      '1 orders are under way (placed)',
      '2 orders are under way (capture)',
      '1 orders need a person (GET /v1/orders?attention=true)',
      '2 pieces are still reserved',
      'payment p2 is voiding',
      'payment p3 is capturing',
    ],
  });
});

test('orders that are not known as they are now are found and read', async () => {
  const later = '2026-01-01T12:00:01.000Z';
  const all = ['1', '2', '3', '4'].map((id) =>
    order(id, 'confirmed', id === '3' ? { updated_at: later } : {}),
  );
  const shop = {
    ...createFakeShop(),
    async *orders() {
      yield* all;
    },
    order: async (id: string) => all.find((one) => one.id === id) as Order,
  };
  const known = new Map([
    ['2', order('2', 'confirmed')],
    ['3', order('3', 'confirmed')],
    ['4', order('4', 'confirmed', { progress: { step: 'amend', since: at, waits_for: 'shipping' } })],
  ]);
  const ids = await ordersToRead(shop, known);
  expect(ids).toEqual(['1', '3', '4']);
  let read = 0;
  await readOrders(shop, ids, known, () => {
    read++;
  });
  expect(read).toBe(3);
  expect(known.get('3')).toMatchObject({ updated_at: later });
  expect(await ordersToRead(shop, known)).toEqual([]);
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
      async *payments() {
        yield held;
      },
    };
  };
  const options = {
    signal: new AbortController().signal,
    known: new Map([['1', order('1', 'confirmed')]]),
  };

  test('again until the events of the last orders have arrived', async () => {
    const late = shop(stock({ reserved: 2, committed: 0 }), stock());
    expect(await takeBooks(late, { ...options, patienceMs: 5_000 })).toMatchObject({
      committed: 2,
      faults: [],
      unsettled: [],
    });
  });

  test('with each order read once that does not change', async () => {
    let reads = 0;
    const shopOfOne = {
      ...shop(stock({ reserved: 2, committed: 0 }), stock()),
      async order() {
        reads++;
        return order('1', 'confirmed');
      },
    };
    const books = await takeBooks(shopOfOne, { ...options, known: new Map(), patienceMs: 5_000 });
    expect(books).toMatchObject({ orderedPieces: 2, faults: [] });
    expect(reads).toBe(1);
  });

  test('with an order as it is, not as a list that is behind shows it', async () => {
    const behind = {
      ...shop(stock()),
      async *orders() {
        yield order('1', 'placed');
      },
      order: async () => order('1', 'confirmed'),
    };
    expect(await takeBooks(behind, { ...options, known: new Map(), patienceMs: 0 })).toMatchObject({
      orderedPieces: 2,
      faults: [],
      unsettled: [],
    });
  });

  test('as they are when they do not settle in time', async () => {
    const never = shop(stock({ reserved: 2, committed: 0 }));
    expect(await takeBooks(never, { ...options, patienceMs: 0 })).toMatchObject({ reserved: 2 });
  });
});
