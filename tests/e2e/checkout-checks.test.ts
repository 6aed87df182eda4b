import { gbp } from '@sidecart/contracts/money';
import type { HistoryEntry, Order } from '@sidecart/contracts/orders';
import { expect, test } from 'vitest';
import type { Movement as MoneyMovement } from '../../provider/books.ts';
import { checkoutFaults, type Evidence, type Witnessed } from './checkout-checks.ts';
import { stepAt, storyFaults } from './checkout-story.ts';

// The controls of the checkout kills: what is true is passed, and each thing that could go wrong is told.

const at = (second: number) => new Date(Date.UTC(2026, 2, 14, 9, 0, second)).toISOString();

function history(...events: [type: string, details?: object][]): HistoryEntry[] {
  return events.map(([type, details = {}], i) => ({
    version: i + 1,
    type,
    at: at(i),
    actor: 'anonymous',
    caused_by: `msg_${i}`,
    details: { ...details },
  }));
}

function order(id: string, o: Partial<Order>, pieces: [heart: number, lantern: number]): Order {
  const lines = pieces.map((quantity, i) => ({
    sku: i === 0 ? 'HEART' : 'LANTERN',
    quantity,
    unit_price: gbp(100),
    line_total: gbp(quantity * 100),
  }));
  const total = gbp(pieces[0] * 100 + pieces[1] * 100);
  return { id, status: 'placed', lines, total, placed_at: at(0), updated_at: at(9), ...o };
}

const three = [
  { sku: 'HEART', quantity: 3 },
  { sku: 'LANTERN', quantity: 2 },
];
const one = [
  { sku: 'HEART', quantity: 1 },
  { sku: 'LANTERN', quantity: 2 },
];
const placed: [string, object] = ['OrderPlaced', { lines: three, total: gbp(500) }];
const confirmed: [string, object] = ['OrderConfirmed', { paymentId: 'pay_1', authorised: gbp(500) }];
const requested = {
  refundId: 'rfd_1',
  amount: gbp(100),
  lines: [{ sku: 'LANTERN', quantity: 1 }],
  restock: true,
};

/** Amended to three pieces, delivered, and one of them given back. */
function delivered(): Witnessed {
  const is = order('ord_a', { status: 'delivered', paid: gbp(300), refunded: gbp(100) }, [1, 2]);
  Object.assign(is.lines[1] ?? {}, { refunded: 1, restocked: 1 });
  return {
    order: is,
    shipment: { status: 'delivered', lines: one },
    history: history(
      placed,
      ['StockHeld'],
      confirmed,
      ['AmendmentRequested', { amendmentId: 'amd_1', lines: one }],
      ['OrderAmended', { amendmentId: 'amd_1', lines: one, total: gbp(300) }],
      ['OrderHandedOver'],
      ['OrderShipped', { paid: gbp(300) }],
      ['OrderDelivered'],
      ['RefundRequested', requested],
      ['OrderRefunded', { refundId: 'rfd_1', amount: gbp(100) }],
    ),
  };
}

function cancelled(): Witnessed {
  return {
    order: order('ord_b', { status: 'cancelled', cancellation: {} }, [3, 2]),
    shipment: { status: 'cancelled', lines: three },
    history: history(
      placed,
      ['StockHeld'],
      confirmed,
      ['CancellationRequested', { cause: 'customer' }],
      ['OrderCancelled', { cause: 'customer' }],
      ['PaymentReleased'],
    ),
  };
}

function lost(): Witnessed {
  return {
    order: order('ord_c', { status: 'lost', paid: gbp(500), refunded: gbp(500) }, [3, 2]),
    shipment: { status: 'lost', lines: three },
    history: history(
      placed,
      ['StockHeld'],
      confirmed,
      ['OrderHandedOver'],
      ['OrderShipped', { paid: gbp(500) }],
      ['OrderLost', { reason: 'fell off the van' }],
      ['RefundRequested', { refundId: 'rfd_2', amount: gbp(500), lines: three, restock: false }],
      ['OrderRefunded', { refundId: 'rfd_2', amount: gbp(500) }],
    ),
  };
}

const money = (kind: MoneyMovement['kind'], key: string, amount: number): MoneyMovement => ({
  position: 1,
  kind,
  key,
  amount,
  authorisation_id: 'auth_1',
  reference: 'ord',
  currency: 'GBP',
  at: at(1),
});
const stockMoved = (
  kind: 'reserved' | 'committed' | 'released',
  sku: string,
  quantity: number,
  id: string,
) => ({
  id: `mov_${kind}${sku}${id}`,
  sku,
  kind,
  quantity,
  order_id: id,
  at: at(1),
});

function truth(): Evidence {
  const witnessed = [delivered(), cancelled(), lost()];
  const ids = ['ord_a', 'ord_b', 'ord_c'];
  return {
    witnessed,
    list: witnessed.map(({ order: { lines: _, cancellation: __, ...summary } }) => summary),
    ledger: [
      money('authorised', 'ord_a.authorise', 500),
      money('captured', 'ord_a.capture', 300),
      money('refunded', 'ord_a.refund.rfd_1', 100),
      money('authorised', 'ord_b.authorise', 500),
      money('voided', 'ord_b.void', 500),
      money('authorised', 'ord_c.authorise', 500),
      money('captured', 'ord_c.capture', 500),
      money('refunded', 'ord_c.refund.rfd_2', 500),
    ],
    movements: [
      ...ids.flatMap((id) => three.map(({ sku, quantity }) => stockMoved('reserved', sku, quantity, id))),
      ...ids.flatMap((id) => three.map(({ sku, quantity }) => stockMoved('committed', sku, quantity, id))),
      stockMoved('released', 'HEART', 2, 'ord_a'),
      stockMoved('released', 'LANTERN', 1, 'ord_a'),
      stockMoved('released', 'HEART', 3, 'ord_b'),
      stockMoved('released', 'LANTERN', 2, 'ord_b'),
    ],
    stock: [
      { sku: 'HEART', received: 10, on_hand: 6, reserved: 0, committed: 4 },
      { sku: 'LANTERN', received: 10, on_hand: 7, reserved: 0, committed: 3 },
    ],
    dashboard: {
      open_orders: 0,
      attention: 0,
      placed_orders: 3,
      units_shipped: 8,
      takings: gbp(800),
      refunded: gbp(600),
      pending_events: 0,
    },
    unitsShipped: 8,
  };
}

test('what is true is passed', () => {
  expect(checkoutFaults(truth())).toEqual([]);
});

/** Changes the one thing, in a truth of its own. */
function faultsAfter(change: (evidence: Evidence) => unknown): string {
  const evidence = structuredClone(truth());
  change(evidence);
  return checkoutFaults(evidence).join('\n');
}
const [A, B, C] = [0, 1, 2];
const of = (e: Evidence, i: number) =>
  e.witnessed[i] as { order: Order; history: HistoryEntry[]; shipment: never };
const drop = <T>(all: readonly T[], which: (one: T) => boolean) => {
  const list = all as T[];
  list.splice(list.findIndex(which), 1);
};
const again = <T>(all: readonly T[], which: (one: T) => boolean) => {
  const list = all as T[];
  list.push(list.find(which) as T);
};

test.each<[string, (e: Evidence) => unknown, RegExp]>([
  [
    'taken twice',
    (e) => again(e.ledger, ({ key }) => key === 'ord_a.capture'),
    /not due: ord_a\.capture captured 300/,
  ],
  [
    'not taken',
    (e) => drop(e.ledger, ({ key }) => key === 'ord_a.capture'),
    /missing: ord_a\.capture captured 300/,
  ],
  [
    'taken for pieces that did not leave',
    (e) => Object.assign(e.ledger[1] ?? {}, { amount: 500 }),
    /missing: ord_a\.capture captured 300\n.*not due: ord_a\.capture captured 500/,
  ],
  [
    'held under a second key',
    (e) => (e.ledger as MoneyMovement[]).push(money('authorised', 'ord_a.authorise.2', 500)),
    /not due: ord_a\.authorise\.2/,
  ],
  [
    'held for a cancelled order',
    (e) => drop(e.ledger, ({ kind }) => kind === 'voided'),
    /missing: ord_b\.void voided 500/,
  ],
  [
    'taken for a cancelled order',
    (e) => (e.ledger as MoneyMovement[]).push(money('captured', 'ord_b.capture', 500)),
    /not due: ord_b\.capture/,
  ],
  [
    'given back twice',
    (e) => again(e.ledger, ({ kind }) => kind === 'refunded'),
    /not due: ord_a\.refund\.rfd_1/,
  ],
  [
    'a refund that was only said',
    (e) => drop(e.ledger, ({ key }) => key === 'ord_c.refund.rfd_2'),
    /missing: ord_c\.refund\.rfd_2 refunded 500/,
  ],
  [
    'money of an order that is not there',
    (e) => (e.ledger as MoneyMovement[]).push(money('captured', 'ord_x.capture', 1)),
    /money of nobody: ord_x\.capture/,
  ],
  [
    'stock committed twice',
    (e) => again(e.movements, ({ kind }) => kind === 'committed'),
    /ord_a .*HEART: committed 3,3/,
  ],
  [
    'stock set aside twice',
    (e) => again(e.movements, ({ kind }) => kind === 'reserved'),
    /ord_a .*HEART: set aside 3,3/,
  ],
  [
    'stock never committed',
    (e) => drop(e.movements, ({ kind }) => kind === 'committed'),
    /ord_a .*HEART: never committed/,
  ],
  [
    'stock of a cancelled order not put back',
    (e) => drop(e.movements, (m) => m.kind === 'released' && m.order_id === 'ord_b'),
    /ord_b .*put back 0, but 0 are with/,
  ],
  [
    'stock put back twice',
    (e) => again(e.movements, ({ kind }) => kind === 'released'),
    /ord_a .*HEART: set aside 3, put back 4/,
  ],
  [
    'stock moved for somebody else',
    (e) => Object.assign(e.movements[0] ?? {}, { order_id: 'ord_x' }),
    /stock of nobody: HEART reserved 3 for ord_x/,
  ],
  [
    'a reservation left behind',
    (e) => Object.assign(e.stock[0] ?? {}, { on_hand: 4, reserved: 2 }),
    /HEART: .* reserved 2, committed 4; expected/,
  ],
  [
    'an order that waits for ever',
    (e) => Object.assign(of(e, B).order, { progress: { step: 'void', since: at(5), waits_for: 'x' } }),
    /order ord_b: not at its end/,
  ],
  [
    'a shipment of a cancelled order that left',
    (e) => Object.assign(of(e, B).shipment, { status: 'handed_over' }),
    /ord_b: cancelled, but its shipment is handed_over/,
  ],
  [
    'an order that is not in the list',
    (e) => drop(e.list, ({ id }) => id === 'ord_c'),
    /ord_c: 0 times in the list/,
  ],
  [
    'a list that is behind',
    (e) => Object.assign(e.list[C] ?? {}, { status: 'shipped' }),
    /ord_c: in the list .*shipped/,
  ],
  [
    'takings that were counted twice',
    (e) => Object.assign(e.dashboard, { takings: gbp(1300) }),
    /takings 1300, but it should be 800/,
  ],
  [
    'units that were counted twice',
    (e) => Object.assign(e.dashboard, { units_shipped: 11 }),
    /units shipped 11/,
  ],
  [
    'an order whose total was changed',
    (e) => Object.assign(of(e, A).order, { total: gbp(301) }),
    /history of ord_a: total: by the history 300, by the order 301/,
  ],
  [
    'an order whose pieces were changed',
    (e) => Object.assign(of(e, C).order.lines[0] ?? {}, { quantity: 4 }),
    /history of ord_c: pieces/,
  ],
  [
    'an answer that was written down twice',
    (e) => again(of(e, A).history, ({ type }) => type === 'OrderShipped'),
    /OrderShipped 2 times/,
  ],
  [
    'a message that had its effect twice',
    (e) => again(of(e, A).history, ({ type }) => type === 'OrderRefunded'),
    /OrderRefunded of msg_9 twice/,
  ],
  [
    'an event that is missing',
    (e) => drop(of(e, B).history, ({ type }) => type === 'CancellationRequested'),
    /5 OrderCancelled: not of an order in hand_over\n.*version 5 is the 4th/,
  ],
  [
    'an order that left after it was cancelled',
    (e) => of(e, B).history.push(...history(...Array(6).fill(['X']), ['OrderHandedOver']).slice(6)),
    /7 OrderHandedOver: not of an order in cancelled/,
  ],
  [
    'an event of no known kind',
    (e) => Object.assign(of(e, C).history[1] ?? {}, { type: 'StockSeen' }),
    /StockSeen: nothing of the kind/,
  ],
])('told: %s', (_, change, words) => {
  expect(faultsAfter(change)).toMatch(words);
});

test('the step of an instant is that of the history up to it', () => {
  const steps = delivered().history.map((entry) => stepAt(delivered().history, Date.parse(entry.at)));
  const way = ['reserve', 'authorise', 'hand_over', 'amend', 'hand_over', 'capture', 'deliver', undefined];
  expect(steps).toEqual([...way, 'refund', undefined]);
  expect(stepAt(delivered().history, Date.parse(at(0)) - 1)).toBeUndefined();
});

test.each(['capture_refused', 'capture_unanswered'])(
  'what a person has settled is no fault: after %s no money is due',
  (problem) => {
    const evidence = structuredClone(truth());
    const unpaid = of(evidence, C);
    const refused = { problem, detail: 'no' };
    Object.assign(unpaid, {
      order: order('ord_c', { status: 'delivered' }, [3, 2]),
      shipment: { status: 'delivered', lines: three },
      history: history(
        placed,
        ['StockHeld'],
        confirmed,
        ['OrderHandedOver'],
        ['PersonNeeded', refused],
        ['OrderSettled', { ...refused, resolution: 'written_off' }],
        ['OrderDelivered'],
      ),
    });
    const { lines: _, ...summary } = unpaid.order;
    (evidence.list as object[])[C] = summary;
    evidence.ledger = evidence.ledger.filter(({ key }) => !/ord_c\.(capture|refund)/.test(key));
    Object.assign(evidence.dashboard, { takings: gbp(300), refunded: gbp(100), units_shipped: 3 });
    expect(checkoutFaults({ ...evidence, unitsShipped: 3 })).toEqual([]);
  },
);

test('a hold that nobody let go is no fault once a person has settled it, and is one before', () => {
  const settledBy = (...more: [string, object][]) =>
    faultsAfter((e) => {
      const { history: told } = of(e, B);
      const at = told.findIndex(({ type }) => type === 'PaymentReleased');
      told.splice(at, told.length, ...history(...Array(at).fill(['X']), ...more).slice(at));
      e.ledger = e.ledger.filter(({ kind }) => kind !== 'voided');
    });
  const problem = { problem: 'void_unanswered' };
  expect(
    settledBy(['PersonNeeded', problem], ['OrderSettled', { ...problem, resolution: 'written_off' }]),
  ).toBe('');
  expect(
    settledBy(['PersonNeeded', problem], ['OrderSettled', { ...problem, resolution: 'try_again' }]),
  ).toContain('missing: ord_b.void');
});

test('a history that was settled without answers, which came after all, is a true one', () => {
  const settled = (problem: string, more: object = {}): [string, object][] => [
    ['PersonNeeded', { problem, ...more }],
    ['OrderSettled', { problem, ...more, resolution: 'written_off' }],
  ];
  const told = history(
    placed,
    ['StockHeld'],
    confirmed,
    ['AmendmentRequested', { amendmentId: 'amd_1', lines: one }],
    ...settled('amend_unanswered'),
    ['OrderAmended', { amendmentId: 'amd_1', lines: one, total: gbp(300) }],
    ['OrderHandedOver'],
    ...settled('capture_unanswered'),
    ['OrderDelivered'],
    ['OrderShipped', { paid: gbp(300) }],
    ['RefundRequested', requested],
    ...settled('refund_unanswered', { refundId: 'rfd_1' }),
    ['OrderRefunded', { refundId: 'rfd_1', amount: gbp(100) }],
  );
  const { order: is } = delivered();
  expect(storyFaults(is, told)).toEqual([]);
  const steps = told.map(({ at }) => stepAt(told, Date.parse(at)));
  const way = ['reserve', 'authorise', 'hand_over', 'amend', 'person', 'hand_over', 'hand_over', 'capture'];
  const rest = ['person', 'deliver', undefined, undefined, 'refund', 'person', undefined, undefined];
  expect(steps).toEqual([...way, ...rest]);
});
