import { expect, test } from 'vitest';
import type { Ending } from './execute.ts';
import { reportBooks, reportEndings, reportLines } from './report.ts';

const ENDINGS: Ending[] = [
  { invoice: '500001', outcome: 'delivered' },
  { invoice: '500002', outcome: 'cancelled' },
  { invoice: 'C500003', outcome: 'cancelled' },
  { invoice: 'C500004', outcome: 'unmatched' },
  { invoice: '500005', outcome: 'skipped', rule: 'only negative quantities' },
  { invoice: 'C500006', outcome: 'refunded' },
];
const BOOKS = {
  products: 1,
  received: 1200,
  onHand: 0,
  reserved: 0,
  committed: 1200,
  orderedPieces: 1200,
  orders: 2,
  leftOrders: 1,
  ordersTotal: 510,
  paid: 510,
  refunded: 85,
  captured: 510,
  paidBack: 85,
  held: 0,
  faults: [],
  unsettled: [],
};

test('the ends of the invoices are counted, each once', () => {
  const { text, good } = reportEndings(ENDINGS, 6, 6);
  expect(good).toBe(true);
  expect(text.split('\n').map((line) => line.trim().replace(/ {2,}/, ': '))).toEqual([
    'Invoices',
    'delivered: 1',
    'confirmed, to be cancelled by a later invoice: 0',
    'rejected: 0',
    'cancelled: 2',
    'orders: 1',
    'the cancellations of them: 1',
    'cancellation that was refunded: 1',
    'skipped: 1',
    'only negative quantities: 1',
    'cancellation without a match: 1',
    'These are the 6 invoices of the file, each exactly once.',
  ]);
});

test('a part of the file is said to be one', () => {
  expect(reportEndings(ENDINGS, 6, 1200).text).toContain('These are 6 of the 1,200 invoices of the file');
});

test('an invoice that is missing, or there twice, is wrong', () => {
  const [first, ...others] = ENDINGS;
  expect(reportEndings(others, 6, 6)).toMatchObject({ good: false, text: expect.stringContaining('WRONG') });
  expect(reportEndings([...ENDINGS, first as Ending], 7, 7).good).toBe(false);
  expect(reportEndings([...others, others[0] as Ending], 6, 6).good).toBe(false);
});

test('lines are told with the reasons for leaving some out', () => {
  const counts = { ordered: 10, cancelling: 2, onSkippedInvoices: 1, leftOut: new Map([['no goods', 3]]) };
  const text = reportLines(counts, new Map([['broken quotes', 1]]));
  expect(text).toMatch(/left out +3\n +no goods +3\n +on no invoice: broken quotes +1$/);
});

test('books that agree are said to', () => {
  const { text, good } = reportBooks(BOOKS, []);
  expect(good).toBe(true);
  expect(text).toContain('received 1,200 = on hand 0 + reserved 0 + committed 1,200');
  expect(text).toContain('paid £5.10, refunded £0.85');
  expect(text).toContain('captured £5.10, given back £0.85');
  expect(text).toContain('They agree');
});

test.each([
  [{ ...BOOKS, faults: ['A: off'] }, []],
  [{ ...BOOKS, unsettled: ['2 pieces are still reserved'] }, []],
  [BOOKS, ['ord_1: off']],
])('books that do not are wrong', (books, wrongTotals) => {
  const { text, good } = reportBooks(books, wrongTotals);
  expect(good).toBe(false);
  expect(text).toMatch(/WRONG|NOT SETTLED/);
  expect(text).not.toContain('They agree');
});
