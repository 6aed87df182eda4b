import { NewOrder } from '@sidecart/contracts/orders';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from '../../tests/seed.ts';
import { isFaulty } from '../retail/sale-line.ts';
import { type Fields, lines } from '../testing/lines.ts';
import { type OrderStep, planReplay, type Step } from './plan.ts';

const plan = (...records: Fields[]) => planReplay(lines(...records));
const steps = (...records: Fields[]) => plan(...records).steps;
/** Each step in short: `500001 order`, `C500004 cancels 500001, refunds 2 10001 of 500002`. */
const inShort = (...records: Fields[]) => steps(...records).map(describeStep);

function describeStep(step: Step): string {
  if (step.kind === 'cancellation') {
    const refunds = step.refunds.map(
      ({ invoice, lines }) =>
        `refunds ${lines.map(({ sku, quantity }) => `${quantity} ${sku}`).join(' and ')} of ${invoice}`,
    );
    return `${step.invoice} ${[...step.cancels.map((invoice) => `cancels ${invoice}`), ...refunds].join(', ')}`;
  }
  return step.kind === 'skipped' ? `${step.invoice} ${step.rule}` : `${step.invoice} ${step.kind}`;
}

describe('orders', () => {
  test('go by the earliest time on the invoice, then by its number', () => {
    expect(
      inShort(
        { invoice: '500004', date: '2010-12-01 09:02:00' },
        { invoice: '500003', date: '2010-12-01 09:01:00' },
        { invoice: '500002', date: '2010-12-01 09:03:00' },
        { invoice: '500002', date: '2010-12-01 09:01:00', code: '10002' },
        { invoice: '500005', date: '2010-12-01 09:00:00' },
      ),
    ).toEqual(['500005 order', '500002 order', '500003 order', '500004 order']);
  });

  test('merge lines of the same code and price, and keep codes apart that differ by case', () => {
    const [order] = steps(
      { quantity: '6' },
      { code: '85123A' },
      { quantity: '2' },
      { code: '85123a', price: '1.25' },
    );
    expect(order).toEqual({
      kind: 'order',
      invoice: '500001',
      customer: '70001',
      lines: [
        { sku: '10001', quantity: 8, price: 85 },
        { sku: '85123A', quantity: 6, price: 85 },
        { sku: '85123a', quantity: 6, price: 125 },
      ],
      leaves: true,
    });
  });

  test('can be of nobody known', () => {
    expect(steps({ customer: '' })).toMatchObject([{ kind: 'order', customer: undefined }]);
  });

  test('leave out what is no goods, and count it once', () => {
    const { steps, lines } = plan(
      {},
      { code: 'POST', description: '' },
      { quantity: '-1', code: '10002' },
      { price: '0.0' },
    );
    expect(steps).toMatchObject([{ kind: 'order', lines: [{ sku: '10001', quantity: 6 }] }]);
    expect(Object.fromEntries(lines.leftOut)).toEqual({
      'no goods': 1,
      'negative quantity on a sale': 1,
      'no positive price': 1,
    });
  });

  test('need products, each with its first price and day, and the name of its last sale', () => {
    const { products } = plan(
      { invoice: '500002', price: '0.95', date: '2011-01-05 12:00:00', description: 'CUP, TEA' },
      { invoice: '500001', price: '0.85' },
      { invoice: '500003', code: 'M' },
    );
    expect(products).toEqual([{ sku: '10001', name: 'CUP, TEA', price: 85, since: '2010-12-01' }]);
  });

  test('are only the first of them when limited', () => {
    const all = lines({ invoice: '500002', date: '2010-12-02 09:00:00', code: '10002' }, {});
    const limited = planReplay(all, 1);
    expect(limited.steps.map(describeStep)).toEqual(['500001 order']);
    expect(limited.products.map((product) => product.sku)).toEqual(['10001']);
    expect(limited.lines.ordered).toBe(1);
  });
});

describe('invoices are skipped', () => {
  test.each<[string, Fields[]]>([
    ['only negative quantities', [{ quantity: '-5', price: '0.0', description: '' }, { quantity: '-1' }]],
    ['no line to order: no goods', [{ code: 'POST' }, { code: 'M', price: '0.0' }]],
    ['no line to order: no positive price', [{ price: '0.0' }]],
    ['no line to order: various reasons', [{ price: '0.0' }, { code: 'POST' }]],
    ['no line to order: various reasons', [{ price: '0.0' }, { quantity: '-1' }]],
    ['one code at two prices', [{}, { price: '0.95' }]],
    ['more than 500 lines', Array.from({ length: 501 }, (_, i) => ({ code: String(10_000 + i) }))],
    ['more than 100000 of one product', [{ quantity: '60000' }, { quantity: '60000' }]],
  ])('%s', (rule, records) => {
    expect(steps(...records)).toEqual([{ kind: 'skipped', invoice: '500001', rule }]);
  });

  test('at the bounds of the contract, no sooner', () => {
    const largest = Array.from({ length: 500 }, (_, i) => ({ code: String(10_000 + i), quantity: '100000' }));
    const [step] = steps(...largest);
    expect(step?.kind).toBe('order');
    const lines = (step as OrderStep).lines.map(({ sku, quantity, price }) => ({
      sku,
      quantity,
      unit_price: { amount: price, currency: 'GBP' },
    }));
    expect(NewOrder.safeParse({ lines }).success).toBe(true);
    expect(NewOrder.safeParse({ lines: [...lines, ...lines.slice(0, 1)] }).success).toBe(false);
  });

  test('lines without an invoice number belong to none', () => {
    expect(plan({ invoice: '' }, {})).toMatchObject({ withoutInvoice: 1, steps: [{ invoice: '500001' }] });
  });
});

describe('a cancellation', () => {
  const order = { invoice: '500001' };
  const [sameDay, later] = [{ date: '2010-12-01 17:00:00' }, { date: '2010-12-03 09:00:00' }];
  const cancellation = { invoice: 'C500009', quantity: '-6', ...later };
  const twoLines = [order, { ...order, code: '10002' }];

  test('of a whole order on its day cancels it, and it does not leave', () => {
    expect(steps(order, { ...cancellation, ...sameDay })).toMatchObject([
      { kind: 'order', invoice: '500001', leaves: false },
      { kind: 'cancellation', invoice: 'C500009', cancels: ['500001'], refunds: [] },
    ]);
  });

  test('of a whole order that has left refunds it', () => {
    expect(steps(order, cancellation)).toMatchObject([
      { kind: 'order', invoice: '500001', leaves: true },
      {
        kind: 'cancellation',
        invoice: 'C500009',
        cancels: [],
        refunds: [{ invoice: '500001', lines: [{ sku: '10001', quantity: 6 }] }],
      },
    ]);
  });

  test('of a whole order of several lines takes it back, in any order and split in another way', () => {
    const lines = [
      { ...cancellation, code: '10002' },
      { ...cancellation, quantity: '-2' },
      { ...cancellation, quantity: '-4' },
    ];
    expect(inShort(...twoLines, ...lines)).toEqual([
      '500001 order',
      'C500009 refunds 6 10002 and 6 10001 of 500001',
    ]);
    expect(inShort(...twoLines, ...lines.map((line) => ({ ...line, ...sameDay })))).toEqual([
      '500001 order',
      'C500009 cancels 500001',
    ]);
  });

  test.each([
    ['of a part of the quantity', [order], { quantity: '-5' }, 'refunds 5 10001 of 500001'],
    ['of one line of several', twoLines, {}, 'refunds 6 10001 of 500001'],
    ['of a part of one line of several', twoLines, { quantity: '-1' }, 'refunds 1 10001 of 500001'],
  ])('%s refunds that, also on the day itself', (_, records, changes, taken) => {
    for (const day of [sameDay, later])
      expect(inShort(...records, { ...cancellation, ...changes, ...day })).toEqual([
        '500001 order',
        `C500009 ${taken}`,
      ]);
  });

  test('takes back several orders, line by line, wholly and in part', () => {
    const other = { invoice: '500002', code: '10002' };
    expect(
      inShort(
        order,
        other,
        { ...other, code: '10004' },
        { ...cancellation, ...sameDay },
        { ...cancellation, ...sameDay, code: '10002', quantity: '-2' },
        { ...cancellation, ...sameDay, code: '10003' },
      ),
    ).toEqual(['500001 order', '500002 order', 'C500009 cancels 500001, refunds 2 10002 of 500002']);
  });

  test('takes back the latest of several such orders, and each piece only once', () => {
    expect(
      inShort(
        order,
        { invoice: '500002', date: '2010-12-02 09:00:00' },
        { invoice: '500003', date: '2010-12-04 09:00:00' },
        cancellation,
        { ...cancellation, invoice: 'C500010', quantity: '-4' },
        { ...cancellation, invoice: 'C500011', quantity: '-2' },
        { ...cancellation, invoice: 'C500012', quantity: '-1' },
      ),
    ).toEqual([
      '500001 order',
      '500002 order',
      'C500009 refunds 6 10001 of 500002',
      'C500010 refunds 4 10001 of 500001',
      'C500011 refunds 2 10001 of 500001',
      'C500012 unmatched',
      '500003 order',
    ]);
  });

  test('takes first an order of that line alone, then one with exactly so many, then one with more', () => {
    const of = (invoice: string, quantity: string, more = {}) => ({ invoice, quantity, ...more });
    expect(
      inShort(
        of('500001', '6'),
        of('500002', '6'),
        of('500002', '1', { code: '10002' }),
        of('500003', '9'),
        ...[1, 2, 3].map((n) => ({ ...cancellation, invoice: `C50000${n}` })),
      ).slice(3),
    ).toEqual([
      'C500001 refunds 6 10001 of 500001',
      'C500002 refunds 6 10001 of 500002',
      'C500003 refunds 6 10001 of 500003',
    ]);
  });

  test('of more than any one order has matches nothing, though two together have as many', () => {
    expect(inShort(order, { invoice: '500002' }, { ...cancellation, quantity: '-12' }).at(-1)).toBe(
      'C500009 unmatched',
    );
  });

  test('of what is left of an order on its day refunds it: a part of it was taken back, so it is no whole order', () => {
    expect(
      inShort(
        order,
        { ...cancellation, ...sameDay, invoice: 'C500008', quantity: '-2' },
        { ...cancellation, ...sameDay, quantity: '-4' },
      ),
    ).toEqual(['500001 order', 'C500008 refunds 2 10001 of 500001', 'C500009 refunds 4 10001 of 500001']);
  });

  test('does not see what was left out of the order or of itself', () => {
    expect(inShort(order, { ...order, code: 'POST' }, cancellation, { ...cancellation, code: 'M' })).toEqual([
      '500001 order',
      'C500009 refunds 6 10001 of 500001',
    ]);
  });

  test.each<[string, Fields[]]>([
    ['of more than was ordered', [order, { ...cancellation, quantity: '-7' }]],
    ['at another price', [order, { ...cancellation, price: '0.80' }]],
    [
      'of another code by case',
      [
        { ...order, code: '85123A' },
        { ...cancellation, code: '85123a' },
      ],
    ],
    ['of another customer', [order, { ...cancellation, customer: '70002.0' }]],
    [
      'of nobody known',
      [
        { ...order, customer: '' },
        { ...cancellation, customer: '' },
      ],
    ],
    ['of a skipped invoice', [order, { ...order, price: '0.95' }, cancellation]],
    ['of no goods', [order, { ...cancellation, code: 'M' }]],
    ['with a positive quantity', [order, { ...cancellation, quantity: '6' }]],
  ])('matches nothing: %s', (_, records) => {
    expect(steps(...records).at(-1)).toEqual({ kind: 'unmatched', invoice: 'C500009' });
  });

  test('matches nothing later', () => {
    expect(inShort({ ...order, date: '2010-12-04 09:00:00' }, cancellation)).toEqual([
      'C500009 unmatched',
      '500001 order',
    ]);
  });

  test('keeps an order from leaving also where the limit leaves it out', () => {
    const all = lines(order, { ...cancellation, ...sameDay });
    expect(planReplay(all, 1).steps).toMatchObject([{ invoice: '500001', leaves: false }]);
  });
});

describe('of any file', () => {
  const record = fc.record({
    invoice: fc.constantFrom('500001', '500002', '500003', '500004', 'C500005', 'C500006', 'A1', ''),
    code: fc.constantFrom('10001', '10002A', '10002a', 'POST'),
    description: fc.constantFrom('CUP', 'CUP', 'BOWL', ''),
    quantity: fc.constantFrom('1', '2', '-1', '-2', '0', 'x'),
    price: fc.constantFrom('0.85', '0.85', '0.95', '0.0', '0.001'),
    date: fc.constantFrom('2010-12-01 09:00:00', '2010-12-01 09:01:00', '2010-12-02 09:00:00', 'soon'),
    customer: fc.constantFrom('70001.0', '70002.0', ''),
  });
  const files = fc.array(record, { maxLength: 40 });

  test('every invoice is one step, and every line is counted once', () => {
    fc.assert(
      fc.property(files, (records) => {
        const all = lines(...records);
        const { steps, lines: counts, withoutInvoice } = planReplay(all);
        const invoices = new Set(all.flatMap((line) => line.invoice ?? []));
        expect(steps.map((step) => step.invoice).sort()).toEqual([...invoices].sort());
        const leftOut = [...counts.leftOut.values()].reduce((sum, count) => sum + count, 0);
        const counted = counts.ordered + counts.cancelling + counts.onSkippedInvoices + leftOut;
        expect(counted + withoutInvoice).toBe(all.length);
      }),
      { seed, numRuns: 500 },
    );
  });

  test('orders hold exactly the pieces and pence of their usable lines, each code once', () => {
    fc.assert(
      fc.property(files, (records) => {
        const all = lines(...records);
        for (const step of planReplay(all).steps) {
          if (step.kind !== 'order') continue;
          const its = all.filter((line) => line.invoice === step.invoice && !isFaulty(line));
          const sold = its.flatMap((line) => (!isFaulty(line) && line.quantity > 0 ? line : []));
          const pence = (some: { quantity: number; price: number }[]) =>
            some.reduce((sum, line) => sum + line.quantity * line.price, 0);
          expect(pence(step.lines)).toBe(pence(sold));
          expect(new Set(step.lines.map((line) => line.sku)).size).toBe(step.lines.length);
        }
      }),
      { seed, numRuns: 500 },
    );
  });

  test('a cancellation takes back pieces of earlier orders only, at most those there are, and cancels what stays', () => {
    fc.assert(
      fc.property(files, (records) => {
        const placed = new Map<string, { order: OrderStep; left: Map<string, number> }>();
        const cancelled = new Set<string>();
        for (const step of planReplay(lines(...records)).steps) {
          if (step.kind === 'order') {
            const left = new Map(step.lines.map(({ sku, quantity }) => [sku, quantity]));
            placed.set(step.invoice, { order: step, left });
          }
          if (step.kind !== 'cancellation') continue;
          expect(step.cancels.length + step.refunds.length).toBeGreaterThan(0);
          for (const invoice of step.cancels) {
            cancelled.add(invoice);
            expect(placed.get(invoice)?.order.leaves).toBe(false);
            expect(placed.delete(invoice)).toBe(true);
          }
          for (const { invoice, lines: pieces } of step.refunds) {
            expect(new Set(pieces.map(({ sku }) => sku)).size).toBe(pieces.length);
            const known = placed.get(invoice);
            expect(known?.order.leaves).toBe(true);
            for (const { sku, quantity } of pieces) {
              const left = (known?.left.get(sku) ?? 0) - quantity;
              expect(left).toBeGreaterThanOrEqual(0);
              known?.left.set(sku, left);
            }
          }
        }
        for (const { order } of placed.values()) expect(order.leaves).toBe(!cancelled.has(order.invoice));
      }),
      { seed, numRuns: 500 },
    );
  });

  test('the order of the lines in the file does not matter', () => {
    const shuffled = files.chain((records) => {
      const all = lines(...records);
      return fc.record({
        all: fc.constant(all),
        mixed: fc.shuffledSubarray(all, { minLength: all.length }),
      });
    });
    fc.assert(
      fc.property(shuffled, ({ all, mixed }) => {
        expect(planReplay(mixed)).toEqual(planReplay(all));
      }),
      { seed },
    );
  });

  test('a limit takes the first steps of the whole plan', () => {
    fc.assert(
      fc.property(files, fc.integer({ min: 1, max: 8 }), (records, limit) => {
        const all = lines(...records);
        expect(planReplay(all, limit).steps).toEqual(planReplay(all).steps.slice(0, limit));
      }),
      { seed },
    );
  });
});
