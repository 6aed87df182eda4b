import { catalog } from '@sidecart/contracts/catalog';
import { gbp } from '@sidecart/contracts/money';
import { describe, expect, test } from 'vitest';
import { commandsOf, deadlinesOf, factOf, type StepTimeouts } from './checkout.ts';
import { AT, event, history, LESS_PIECES, PIECES, TOTAL } from './fixture-histories.ts';
import type { OrderEvent, Problem, Resolution } from './order-events.ts';
import { evolve, initialState, type Order } from './order-state.ts';

const after = (happened: readonly OrderEvent[]) => happened.reduce(evolve, initialState()) as Order;
/** What is told and asked when `happened` comes after `before`, all as of one command. */
function flow(before: readonly OrderEvent[], ...happened: OrderEvent[]) {
  const state = after([...before, ...happened]);
  return {
    facts: happened.flatMap((one) => factOf(one, state) ?? []),
    commands: happened.flatMap((one) => commandsOf(one, state)),
  };
}
const asked = (before: readonly OrderEvent[], ...happened: OrderEvent[]) =>
  flow(before, ...happened).commands.map(({ type, data }) => ({ type, ...data }));
const order_id = 'ord_1';

describe('what is asked of the others', () => {
  test('placed: inventory to set its pieces aside', () => {
    expect(asked([], event.placed)).toEqual([{ type: 'ReserveStock', order_id, lines: PIECES }]);
  });

  test('held: payments to hold the money for what it is by now', () => {
    const authorise = { type: 'AuthorisePayment', order_id, token: 'tok_ok' };
    expect(asked(history.placed, event.held)).toEqual([{ ...authorise, amount: TOTAL }]);
    expect(asked([...history.placed, event.amended], event.held)).toEqual([
      { ...authorise, amount: gbp(2255) },
    ]);
  });

  test('confirmed: shipping to pack what it is by now', () => {
    expect(asked([...history.held, event.amended], event.confirmed)).toEqual([
      { type: 'CreateShipment', order_id, lines: LESS_PIECES },
    ]);
  });

  test('out of stock: nobody, as nothing is set aside', () => {
    expect(asked(history.placed, event.outOfStock)).toEqual([]);
  });

  test('declined: inventory to put back', () => {
    expect(asked(history.held, event.declined)).toMatchObject([{ type: 'ReleaseStock', order_id }]);
  });

  test('cancelled: inventory to put back, and payments to let go if it was asked to hold', () => {
    const release = { type: 'ReleaseStock', order_id, reason: 'order cancelled' };
    expect(asked(history.placed, event.cancelled)).toEqual([release]);
    const both = [release, { type: 'VoidPayment', order_id, reason: 'order cancelled' }];
    expect(asked(history.held, event.cancelled)).toEqual(both);
    expect(asked(history.cancelling, event.cancelled)).toEqual(both);
    expect(asked(history['confirmed before'], event.cancelled)).toEqual([release]);
  });

  test('a cancellation or amendment of what is packed: shipping', () => {
    expect(asked(history.confirmed, event.cancelRequested)).toEqual([
      { type: 'CancelShipment', order_id, reason: 'wrong size' },
    ]);
    expect(asked(history.confirmed, event.amendRequested)).toEqual([
      { type: 'AmendShipment', order_id, amendment_id: 'amd_1', lines: LESS_PIECES },
    ]);
  });

  test('amended: inventory to put back what is gone, once for the amendment', () => {
    expect(asked(history.amending, event.amended)).toEqual([
      {
        type: 'ReleaseStock',
        order_id,
        reason: 'order amended',
        part: { id: 'amd_1', lines: [{ sku: 'HEART', quantity: 2 }] },
      },
    ]);
  });

  test('handed over: payments to take the money for what has left', () => {
    expect(asked(history.confirmed, event.handedOver)).toEqual([
      { type: 'CapturePayment', order_id, amount: TOTAL },
    ]);
    // The amendment is of the same command: the hand-over told of it.
    expect(asked(history.amending, event.amended, event.handedOver).at(-1)).toEqual({
      type: 'CapturePayment',
      order_id,
      amount: gbp(2255),
    });
  });

  test('a refund: payments to give back, and inventory to put back what came back', () => {
    const refund = { type: 'RefundPayment', order_id, refund_id: 'rfd_1', amount: gbp(510) };
    expect(asked(history.delivered, event.refundRequested)).toEqual([
      refund,
      {
        type: 'ReleaseStock',
        order_id,
        reason: 'came back',
        part: { id: 'rfd_1', lines: [{ sku: 'HEART', quantity: 2 }] },
      },
    ]);
    const gone = { ...event.refundRequested, restock: false } as OrderEvent;
    expect(asked(history.delivered, gone)).toEqual([refund]);
  });

  test.each<[Problem, readonly OrderEvent[], string[]]>([
    ['capture_refused', history['handed over'], ['CapturePayment']],
    ['capture_unanswered', history['handed over'], ['CapturePayment']],
    ['void_refused', history.voiding, ['VoidPayment']],
    ['void_unanswered', history.voiding, ['VoidPayment']],
    ['cancel_unanswered', history.cancelling, ['CancelShipment']],
    ['amend_unanswered', history.amending, ['AmendShipment']],
    ['refund_unanswered', [...history.delivered, event.refundRequested], ['RefundPayment']],
    // By the RefundRequested that comes with it.
    ['refund_refused', [...history.delivered, event.refundRequested, event.refundRefused], []],
    ['deliver_unanswered', history.shipped, []],
  ])('%s, tried again: the same question once more; settled otherwise: none', (problem, before, types) => {
    const settled = (resolution: Resolution): OrderEvent => ({
      type: 'OrderSettled',
      problem,
      resolution,
      note: 'n',
      ...(problem.startsWith('refund') && { refundId: 'rfd_1' }),
      at: AT,
    });
    expect(asked(before, settled('try_again')).map(({ type }) => type)).toEqual(types);
    expect(asked(before, settled('done_elsewhere'))).toEqual([]);
    expect(asked(before, settled('written_off'))).toEqual([]);
  });
});

test('a cancellation that somebody has seen to by hand is told to shipping, and is like any other', () => {
  const settled: OrderEvent = {
    type: 'OrderSettled',
    problem: 'cancel_unanswered',
    resolution: 'done_elsewhere',
    note: 'n',
    at: AT,
  };
  expect(asked(history.cancelling, settled, event.cancelled).map(({ type }) => type)).toEqual([
    'CancelShipment',
    'ReleaseStock',
    'VoidPayment',
  ]);
  const left: OrderEvent = { type: 'OrderHandedOver', at: AT };
  const written: OrderEvent = { ...settled, resolution: 'written_off' };
  expect(asked(history.cancelling, written, event.cancelRefused, left)).toEqual([
    { type: 'CapturePayment', order_id, amount: TOTAL },
  ]);
});

describe('what the world is told', () => {
  const all: [OrderEvent, readonly OrderEvent[], string | undefined][] = [
    [event.placed, [], 'OrderPlaced'],
    [event.held, history.placed, undefined],
    [event.confirmed, history.held, 'OrderConfirmed'],
    [event.outOfStock, history.placed, 'OrderRejected'],
    [event.declined, history.held, 'OrderRejected'],
    [event.cancelRequested, history.confirmed, undefined],
    [event.cancelled, history.cancelling, 'OrderCancelled'],
    [event.released, history.voiding, undefined],
    [event.amendRequested, history.confirmed, undefined],
    [event.amended, history.amending, 'OrderAmended'],
    [event.handedOver, history.confirmed, undefined],
    [event.shipped, history['handed over'], 'OrderShipped'],
    [event.delivered, history.shipped, 'OrderDelivered'],
    [event.lost, history.shipped, 'OrderLost'],
    [event.refundRequested, history.delivered, undefined],
    [event.refunded, [...history.delivered, event.refundRequested], 'OrderRefunded'],
  ];

  test.each(all)('$0.type', (happened, before, type) => {
    const { facts } = flow(before, happened);
    expect(facts.map((fact) => fact.type)).toEqual(type === undefined ? [] : [type]);
    for (const { customerId } of facts) expect(customerId).toBe('17850');
  });

  test('fits its contract, and so does what is asked', () => {
    // The contracts want whole ids.
    const id = (prefix: string) => `${prefix}_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42`;
    const real = (one: OrderEvent): OrderEvent =>
      JSON.parse(
        JSON.stringify(one).replaceAll(/"(ord|amd|rfd|pay|shp)_(1|lost)"/g, (_, prefix) => `"${id(prefix)}"`),
      );
    for (const [happened, before] of all) {
      const { facts, commands } = flow(before.map(real), real(happened));
      for (const { type, data } of [...facts, ...commands]) catalog[type].schema.parse(data);
    }
  });

  test('why it is cancelled, or that nobody has said', () => {
    const { reason: _, ...silent } = event.cancelled as Extract<OrderEvent, { type: 'OrderCancelled' }>;
    expect(flow(history.placed, event.cancelled).facts).toMatchObject([{ data: { reason: 'wrong size' } }]);
    expect(flow(history.placed, silent).facts).toMatchObject([{ data: { reason: 'not given' } }]);
  });

  test('what has left, and what was paid', () => {
    expect(flow([...history.amending, event.amended, event.handedOver], event.shipped).facts).toMatchObject([
      { data: { lines: LESS_PIECES, paid: TOTAL } },
    ]);
  });

  test('nothing to pay with', () => {
    expect(JSON.stringify(flow([], event.placed).facts)).not.toContain('tok_');
  });
});

describe('deadlines', () => {
  const timeouts: StepTimeouts = {
    reserve: 1,
    authorise: 2,
    hand_over: 3,
    cancel: 4,
    amend: 5,
    capture: 6,
    deliver: 7,
    void: 8,
    refund: 9,
  };
  const set = (before: readonly OrderEvent[], ...happened: OrderEvent[]) =>
    deadlinesOf(after(before), after([...before, ...happened]), timeouts).map(({ type, data, delayMs }) => {
      expect([type, (data as { order_id: string }).order_id]).toEqual(['CheckoutStepOverdue', order_id]);
      const { step, entry } = data as { step: string; entry: number };
      return `${step} ${entry} in ${delayMs}`;
    });

  test.each<[string, readonly OrderEvent[], OrderEvent[], string[]]>([
    ['placed', [], [event.placed], ['reserve 1 in 1']],
    ['held', history.placed, [event.held], ['authorise 2 in 2']],
    ['confirmed', history.held, [event.confirmed], ['hand_over 3 in 3']],
    ['asked to cancel', history.confirmed, [event.cancelRequested], ['cancel 4 in 4']],
    ['asked to amend', history.confirmed, [event.amendRequested], ['amend 4 in 5']],
    ['amended: the hand-over is waited for anew', history.amending, [event.amended], ['hand_over 5 in 3']],
    ['handed over', history.confirmed, [event.handedOver], ['capture 4 in 6']],
    ['paid', history['handed over'], [event.shipped], ['deliver 5 in 7']],
    ['cancelled before any money was asked for', history.placed, [event.cancelled], []],
    ['cancelled after it', history.held, [event.cancelled], ['void 3 in 8']],
    ['delivered', history.shipped, [event.delivered], []],
    ['a refund', history.delivered, [event.refundRequested], ['refund 6 in 9']],
    ['lost, with its refund', history.shipped, [event.lost, event.lostRefund], ['refund 6 in 9']],
    // Only of where it ends up.
    [
      'amended and handed over at once',
      history.amending,
      [event.amended, event.handedOver],
      ['capture 6 in 6'],
    ],
    ['amended while nobody packs', history.held, [event.amended], []],
    ['nothing', history.confirmed, [], []],
  ])('%s', (_, before, happened, expected) => {
    expect(set(before, ...happened)).toEqual(expected);
  });

  test('asked again has its deadline again', () => {
    const again = (problem: Problem, refundId?: string): OrderEvent => ({
      type: 'OrderSettled',
      problem,
      refundId,
      resolution: 'try_again',
      note: 'n',
      at: AT,
    });
    expect(set(history['handed over'], again('capture_unanswered'))).toEqual(['capture 5 in 6']);
    expect(set([...history.delivered, event.refundRequested], again('refund_unanswered', 'rfd_1'))).toEqual([
      'refund 7 in 9',
    ]);
  });
});
