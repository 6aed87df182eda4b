import { gbp } from '@sidecart/contracts/money';
import type { Order } from '@sidecart/contracts/orders';
import type { Payment } from '@sidecart/contracts/payments';
import { expect, test } from 'vitest';
import { checksOf, type Evidence, tableOf } from './verdict.ts';

const AT = '2026-01-01T12:00:00.000Z';

function order(n: number): Order {
  const line = { sku: 'MUG', quantity: 2, unit_price: gbp(1000), line_total: gbp(2000) };
  const [placed_at, updated_at] = [AT, AT];
  return { id: `ord_${n}`, status: 'confirmed', lines: [line], total: gbp(2000), placed_at, updated_at };
}

function payment(n: number): Payment {
  const hold = { kind: 'authorise', state: 'succeeded', attempts: 1, requested_at: AT } as const;
  return {
    id: `pay_${n}`,
    order_id: `ord_${n}`,
    status: 'authorised',
    authorised: gbp(2000),
    captured: gbp(0),
    refunded: gbp(0),
    operations: [hold],
  };
}

/** Two orders in a shop that has seen others, and has a dead letter of before. */
function good() {
  const stock = (reserved: number, committed: number) => {
    const received = 40;
    return { sku: 'MUG', received, reserved, committed, on_hand: received - reserved - committed };
  };
  return {
    wanted: 2,
    orders: [order(1), order(2)],
    payments: [payment(1), payment(2)],
    stock: { before: stock(1, 10), after: stock(2, 13) },
    deadLetters: {
      before: new Map([['inventory', ['7']]]),
      after: new Map([
        ['inventory', ['7']],
        ['orders', []],
      ]),
    },
  } satisfies Evidence;
}

const faultsOf = (evidence: Evidence) => checksOf(evidence).flatMap(({ faults }) => faults);

test('each order with its pieces, its payment and no new dead letter is as expected', () => {
  const checks = checksOf(good());
  expect(checks.map(({ what, expected, found }) => [what, expected, found])).toEqual([
    ['orders placed', '2', '2'],
    ['orders confirmed', '2', '2'],
    ['pieces set aside or committed', '4', '4'],
    ['orders whose total is authorised once', '2', '2'],
    ['dead letters of inventory', 'none but the 1 of before', '1, 0 new'],
    ['dead letters of orders', 'none', 'none'],
  ]);
  expect(faultsOf(good())).toEqual([]);
  expect(tableOf(checks)).not.toContain('WRONG');
});

test('what is settled meanwhile is no fault', () => {
  const evidence = good();
  evidence.deadLetters.after.set('inventory', []);
  expect(faultsOf(evidence)).toEqual([]);
});

type Spoil = (evidence: ReturnType<typeof good>) => void;
const first = <T>([item]: T[]) => item as T;

test.each<[string, Spoil, string[]]>([
  [
    'an order is missing',
    (e) => {
      e.wanted = 3;
    },
    ['3 orders were wanted, and there are 2'],
  ],
  [
    'two keys got one order',
    (e) => e.orders.splice(1, 1, order(1)),
    ['2 orders were wanted, and there are 1'],
  ],
  [
    'an order has not ended',
    (e) => {
      first(e.orders).status = 'placed';
    },
    ['order ord_1 is placed'],
  ],
  [
    'an order is rejected',
    (e) =>
      Object.assign(first(e.orders), {
        status: 'rejected',
        rejection: { reason: 'out_of_stock', lines: [] },
      }),
    ['order ord_1 is rejected (out_of_stock)'],
  ],
  [
    'pieces are set aside twice',
    (e) => {
      e.stock.after.reserved += 2;
    },
    ['6 pieces of MUG were set aside or committed, 4 ordered'],
  ],
  [
    'pieces are committed twice',
    (e) => {
      e.stock.after.committed += 2;
    },
    ['6 pieces of MUG were set aside or committed, 4 ordered'],
  ],
  [
    'pieces are not set aside',
    (e) => {
      e.stock.after.committed -= 2;
    },
    ['2 pieces of MUG were set aside or committed, 4 ordered'],
  ],
  ['no payment', (e) => e.payments.pop(), ['order ord_2: no payment']],
  ['two payments', (e) => e.payments.push(payment(2)), ['order ord_2: 2 payments']],
  [
    'the money is let go',
    (e) => {
      first(e.payments).status = 'voided';
    },
    ['order ord_1: its payment is voided'],
  ],
  [
    'authorised twice',
    (e) => e.payments[1]?.operations.push(first(payment(2).operations)),
    ['order ord_2: authorised 2 times'],
  ],
  [
    'another amount',
    (e) => {
      first(e.payments).authorised = gbp(1000);
    },
    ['order ord_1: £10.00 authorised, its total is £20.00'],
  ],
  [
    'a new dead letter',
    (e) => e.deadLetters.after.set('inventory', ['8', '7']),
    ['inventory has a new dead letter: npm run dlq -- show inventory/8'],
  ],
  [
    'a new dead letter in place of one that was settled',
    (e) => e.deadLetters.after.set('inventory', ['8']),
    ['inventory has a new dead letter: npm run dlq -- show inventory/8'],
  ],
])('control: %s is told', (_, spoil, faults) => {
  const evidence = good();
  spoil(evidence);
  expect(faultsOf(evidence)).toEqual(faults);
  expect(tableOf(checksOf(evidence))).toContain('WRONG');
});
