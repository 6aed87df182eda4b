import { expect, test } from 'vitest';
import { type Books, bookFaults, LOAD_PRICE } from './load-books.ts';

const ENDS = new Map([
  ['ord_a', 'shipped'],
  ['ord_b', 'confirmed'],
  ['ord_c', 'rejected'],
]);
const money = (key: string, kind: 'authorised' | 'captured', amount = LOAD_PRICE) => ({ key, kind, amount });
const BOOKS: Books = {
  ledger: [
    money('ord_a.authorise', 'authorised'),
    money('ord_a.capture', 'captured'),
    money('ord_b.authorise', 'authorised'),
    money('ord_before.authorise', 'authorised', 99),
  ],
  payments: [
    { order_id: 'ord_a', status: 'captured', authorised: LOAD_PRICE, captured: LOAD_PRICE, refunded: 0 },
    { order_id: 'ord_b', status: 'authorised', authorised: LOAD_PRICE, captured: 0, refunded: 0 },
  ],
  shipments: [
    { order_id: 'ord_a', status: 'handed_over' },
    { order_id: 'ord_b', status: 'preparing' },
  ],
};
const { ledger, payments, shipments } = BOOKS;

test('nothing is said of books that agree, nor of orders that are not of the load', () => {
  expect(bookFaults(ENDS, BOOKS)).toEqual([]);
});

test.each<[string, Partial<Books>, string]>([
  [
    'money that was not taken',
    { ledger: ledger.filter(({ kind }) => kind !== 'captured') },
    'missing: money ord_a.capture captured 250',
  ],
  [
    'money taken twice',
    { ledger: [...ledger, money('ord_a.capture', 'captured')] },
    'not due: money ord_a.capture captured 250',
  ],
  [
    'money taken under another key',
    { ledger: [...ledger, money('ord_a.capture.2', 'captured')] },
    'not due: money ord_a.capture.2 captured 250',
  ],
  [
    'money held for a rejected order',
    { ledger: [...ledger, money('ord_c.authorise', 'authorised')] },
    'not due: money ord_c.authorise authorised 250',
  ],
  [
    'a payment that is lost',
    { payments: payments.slice(0, 1) },
    'missing: payment of ord_b authorised: held 250, taken 0, given back 0',
  ],
  ['a shipment that is lost', { shipments: shipments.slice(0, 1) }, 'missing: shipment of ord_b preparing'],
  [
    'a shipment that left unasked',
    { shipments: [...shipments.slice(0, 1), { order_id: 'ord_b', status: 'handed_over' }] },
    'not due: shipment of ord_b handed_over',
  ],
])('%s is told', (_what, wrong, fault) => {
  expect(bookFaults(ENDS, { ...BOOKS, ...wrong })).toContain(fault);
});

test('an order without an end is told', () => {
  expect(bookFaults(new Map([['ord_d', 'placed']]), { ...BOOKS, payments: [], shipments: [] })).toEqual([
    'missing: an end of ord_d that is none: placed',
  ]);
});
