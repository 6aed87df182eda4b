import { gbp } from '@sidecart/contracts/money';
import { specification } from '@sidecart/event-sourcing/testing';
import { describe, expect, test } from 'vitest';
import { order } from './aggregate.ts';
import { command, event, history, LATER, LESS_PIECES, needed, type Where } from './fixture-histories.ts';
import { decide } from './order.ts';
import type { OrderCommand, OrderEvent, Problem, Resolution, Step } from './order-events.ts';
import { evolve, initialState, isFinal, type Order } from './order-state.ts';

const given = specification(order);
const later = (happened: OrderEvent): OrderEvent => ({ ...happened, at: LATER });
const after = (happened: readonly OrderEvent[]) => happened.reduce(evolve, initialState()) as Order;
const person = (problem: Problem, detail: string, refundId?: string): OrderEvent => ({
  type: 'PersonNeeded',
  problem,
  refundId,
  detail,
  at: LATER,
});

/** It contradicts what the same service has said before. */
const NO = 'order_already_decided';
/** It changes nothing. */
const NOTHING = '';

type Answers =
  | 'stockReserved'
  | 'stockRejected'
  | 'authorised'
  | 'declined'
  | 'voided'
  | 'voidRefused'
  | 'shipmentAmended'
  | 'shipmentCancelled'
  | 'handedOver'
  | 'captured'
  | 'captureRefused'
  | 'delivered'
  | 'lost'
  | 'refunded'
  | 'refundRefused';

/** What comes of each answer in the places that it matters in, and in all others. */
const ANSWERS: Record<Answers, Partial<Record<Where, string>> & { else: string }> = {
  stockReserved: { placed: 'StockHeld', 'out of stock': NO, else: NOTHING },
  stockRejected: { placed: 'OrderRejected', 'out of stock': NOTHING, cancelled: NOTHING, else: NO },
  authorised: {
    held: 'OrderConfirmed',
    placed: NO,
    'out of stock': NO,
    declined: NO,
    cancelled: NO,
    'confirmed before': NO,
    else: NOTHING,
  },
  declined: {
    held: 'OrderRejected',
    declined: NOTHING,
    // No money is held, and none will be: the order need not wait for the void.
    voiding: 'PaymentReleased',
    released: NOTHING,
    else: NO,
  },
  voided: { voiding: 'PaymentReleased', released: NOTHING, else: NO },
  voidRefused: { voiding: 'PersonNeeded', released: NOTHING, else: NO },
  shipmentAmended: { amending: 'OrderAmended', else: NOTHING },
  shipmentCancelled: {
    cancelling: 'OrderCancelled',
    cancelled: NOTHING,
    voiding: NOTHING,
    released: NOTHING,
    else: NO,
  },
  handedOver: {
    confirmed: 'OrderHandedOver',
    amending: 'AmendmentRefused,OrderHandedOver',
    cancelling: 'CancellationRefused,OrderHandedOver',
    'handed over': NOTHING,
    shipped: NOTHING,
    delivered: NOTHING,
    lost: NOTHING,
    else: NO,
  },
  captured: { 'handed over': 'OrderShipped', shipped: NOTHING, delivered: NOTHING, lost: NOTHING, else: NO },
  captureRefused: {
    'handed over': 'PersonNeeded',
    shipped: NOTHING,
    delivered: NOTHING,
    lost: NOTHING,
    else: NO,
  },
  delivered: {
    confirmed: 'OrderDelivered',
    amending: 'OrderDelivered',
    cancelling: 'OrderDelivered',
    'handed over': 'OrderDelivered',
    shipped: 'OrderDelivered',
    delivered: NOTHING,
    lost: NOTHING,
    else: NO,
  },
  lost: {
    confirmed: 'OrderLost',
    amending: 'OrderLost',
    cancelling: 'OrderLost',
    'handed over': 'OrderLost',
    shipped: 'OrderLost,RefundRequested',
    delivered: NOTHING,
    lost: NOTHING,
    else: NO,
  },
  refunded: { else: NO },
  refundRefused: { else: NO },
};

describe.each(Object.entries(ANSWERS))('%s', (name, expected) => {
  test.each(Object.keys(history) as Where[])('about an order that is %s', (where) => {
    const answer = command[name as Answers];
    const what = expected[where] ?? expected.else;
    if (what === NO) given(history[where]).when(answer).thenThrows(NO);
    else {
      const happened = decide(answer, after(history[where]));
      expect(happened.map(({ type }) => type).join()).toBe(what);
      // The same answer once more.
      given([...history[where], ...happened])
        .when(answer)
        .thenEvents([]);
    }
  });
});

describe('of inventory', () => {
  test('all is set aside: the money is to be held', () => {
    given(history.placed)
      .when(command.stockReserved)
      .thenEvents([later(event.held)]);
  });

  test('short: the lines at fault are named', () => {
    given(history.placed)
      .when(command.stockRejected)
      .thenEvents([later(event.outOfStock)]);
  });
});

describe('of payments', () => {
  test('held: the order is confirmed', () => {
    given(history.held)
      .when(command.authorised)
      .thenEvents([later(event.confirmed)]);
  });

  test('held for an order that was amended meanwhile: confirmed for what it is now', () => {
    given([...history.held, event.amended])
      .when(command.authorised)
      .thenEvents([later(event.confirmed)]);
  });

  test('declined: why', () => {
    given(history.held)
      .when(command.declined)
      .thenEvents([later(event.declined)]);
  });

  test('a void that is refused needs a person once, and never again after the money is let go or somebody has settled it', () => {
    const refused = person('void_refused', 'too late');
    given(history.voiding).when(command.voidRefused).thenEvents([refused]);
    given([...history.voiding, refused])
      .when(command.voidRefused)
      .thenEvents([]);
    const settled: OrderEvent = {
      type: 'OrderSettled',
      problem: 'void_refused',
      resolution: 'written_off',
      note: 'n',
      at: LATER,
    };
    given([...history.voiding, refused, settled])
      .when(command.voidRefused)
      .thenEvents([]);
    expect(isFinal(after([...history.voiding, refused, settled]))).toBe(true);
  });

  test('a void after all settles that it was refused', () => {
    const state = after([...history.voiding, needed('void_refused'), event.released]);
    expect([state.problems, isFinal(state)]).toEqual([[], true]);
  });

  test('taken: the order has left and is paid', () => {
    given(history['handed over'])
      .when(command.captured)
      .thenEvents([later(event.shipped)]);
  });

  test('taken for an order that is lost by then: it is given back', () => {
    given([...history['handed over'], event.lost])
      .when(command.captured)
      .thenEvents([later(event.shipped), later(event.lostRefund)]);
  });

  test('taken for an order that has arrived by then: that is its end', () => {
    const state = after([...history['handed over'], event.delivered, event.shipped]);
    expect([state.status, isFinal(state)]).toEqual(['delivered', true]);
  });

  test('a capture that is refused needs a person, also when it has arrived', () => {
    const arrived = [...history['handed over'], event.delivered];
    const refused = person('capture_refused', 'expired');
    given(arrived).when(command.captureRefused).thenEvents([refused]);
    expect(after([...arrived, refused]).status).toBe('confirmed');
  });

  test('a capture that is refused after it was not answered in time: one problem, not two', () => {
    const state = after([
      ...history['handed over'],
      needed('capture_unanswered'),
      person('capture_refused', 'expired'),
    ]);
    expect(state.problems.map(({ problem }) => problem)).toEqual(['capture_refused']);
  });

  test('taken after all, though somebody has written it off: it is paid', () => {
    const writtenOff: OrderEvent = {
      type: 'OrderSettled',
      problem: 'capture_refused',
      resolution: 'written_off',
      note: 'n',
      at: LATER,
    };
    const happened = [...history['handed over'], needed('capture_refused'), writtenOff];
    given(happened)
      .when(command.captured)
      .thenEvents([later(event.shipped)]);
    expect(after([...happened, event.delivered, event.shipped])).toMatchObject({
      status: 'delivered',
      paid: gbp(2765),
    });
  });
});

describe('about a refund', () => {
  const asked = [...history.delivered, event.refundRequested];

  test('paid: noted once', () => {
    given(asked)
      .when(command.refunded)
      .thenEvents([later(event.refunded)]);
    given([...asked, event.refunded])
      .when(command.refunded)
      .thenEvents([]);
  });

  test('refused: needs a person, once', () => {
    const refused = [later(event.refundRefused), person('refund_refused', 'card closed', 'rfd_1')];
    given(asked).when(command.refundRefused).thenEvents(refused);
    given([...asked, ...refused])
      .when(command.refundRefused)
      .thenEvents([]);
  });

  test('refused after it was paid changes nothing', () => {
    given([...asked, event.refunded])
      .when(command.refundRefused)
      .thenEvents([]);
  });

  test('paid after it was refused is noted: nobody need see to it any more', () => {
    const happened = [...asked, event.refundRefused, needed('refund_refused', 'rfd_1')];
    given(happened)
      .when(command.refunded)
      .thenEvents([later(event.refunded)]);
    const state = after([...happened, event.refunded]);
    expect(state.problems).toEqual([]);
    expect(state.lines[0]).toMatchObject({ refunded: 2, settled: 0 });
  });

  test('refused, the pieces are no longer being paid back', () => {
    const state = after([...asked, event.refundRefused]);
    expect(state.lines[0]).toMatchObject({ refunded: 0, settled: 2, restocked: 2 });
  });
});

describe('of shipping', () => {
  test('lost: what is not paid back yet is given back, whole lines and the rest of others', () => {
    given([...history.shipped, event.refundRequested])
      .when(command.lost)
      .thenEvents([
        later(event.lost),
        {
          ...later(event.lostRefund),
          amount: gbp(2255),
          lines: [
            { sku: 'HEART', quantity: 1 },
            { sku: 'LANTERN', quantity: 2 },
          ],
        } as OrderEvent,
      ]);
  });

  test('lost, when all is paid back already: nothing more is', () => {
    const all = { ...event.lostRefund, refundId: 'rfd_1' } as OrderEvent;
    given([...history.shipped, all])
      .when(command.lost)
      .thenEvents([later(event.lost)]);
  });

  test('an amendment of earlier is none', () => {
    given(history.amending)
      .when({ ...command.shipmentAmended, amendmentId: 'amd_0' })
      .thenEvents([]);
  });

  test('amended while a cancellation is asked for: the cancellation is still waited for', () => {
    const state = after([...history.amending, event.cancelRequested, event.amended]);
    expect(state.waiting?.step).toBe('cancel');
    expect(state.lines[0]?.quantity).toBe(1);
  });

  test('cancelled, whatever became of an amendment', () => {
    const both = [...history.amending, event.cancelRequested];
    given(both)
      .when(command.shipmentCancelled)
      .thenEvents([later(event.cancelled)]);
    given([...both, event.cancelled])
      .when(command.shipmentAmended)
      .thenEvents([]);
  });

  test('cancelled, why and by whom it was asked for', () => {
    const overdue: OrderEvent = {
      type: 'CancellationRequested',
      reason: 'too late',
      cause: 'overdue',
      at: LATER,
    };
    given([...history.confirmed, overdue])
      .when(command.shipmentCancelled)
      .thenEvents([{ type: 'OrderCancelled', reason: 'too late', cause: 'overdue', at: LATER }]);
  });

  test('handed over with what an amendment asked for: it was made', () => {
    given(history.amending)
      .when({ ...command.handedOver, lines: LESS_PIECES.toReversed() })
      .thenEvents([later(event.amended), later(event.handedOver)]);
  });

  test('handed over with anything else is a contradiction: no money is taken for it', () => {
    given(history.confirmed)
      .when({ ...command.handedOver, lines: LESS_PIECES })
      .thenThrows(NO);
    given(history.amending)
      .when({ ...command.handedOver, lines: [{ sku: 'HEART', quantity: 2 }] })
      .thenThrows(NO);
    given([...history.amending, event.amended])
      .when(command.handedOver)
      .thenThrows(NO);
  });

  test('handed over, after it was told that it arrived: then the money is taken, and that is its end', () => {
    const arrived = [...history.confirmed, event.delivered];
    given(arrived)
      .when(command.handedOver)
      .thenEvents([later(event.handedOver)]);
    const state = after([...arrived, event.handedOver, event.shipped]);
    expect([state.status, isFinal(state)]).toEqual(['delivered', true]);
  });

  test('delivered and lost: the first one counts', () => {
    given([...history['handed over'], event.delivered])
      .when(command.lost)
      .thenEvents([]);
    given([...history['handed over'], event.lost])
      .when(command.delivered)
      .thenEvents([]);
  });
});

describe('an answer that comes after a person has settled it without', () => {
  const settled = (problem: Problem, resolution: Resolution, refundId?: string): OrderEvent => ({
    type: 'OrderSettled',
    problem,
    refundId,
    resolution,
    note: 'n',
    at: LATER,
  });
  const refunding = [...history.delivered, event.refundRequested];
  const OTHERWISE = ['done_elsewhere', 'written_off'] as const;

  test.each(OTHERWISE)('%s: money is taken after all: it is paid, once', (resolution) => {
    const before = [...history['handed over'], settled('capture_unanswered', resolution)];
    expect(after(before)).toMatchObject({ status: 'shipped', paid: gbp(0), waiting: { step: 'deliver' } });
    given(before)
      .when(command.captured)
      .thenEvents([later(event.shipped)]);
    given(before).when(command.captureRefused).thenEvents([]);
    expect(isFinal(after([...before, event.delivered]))).toBe(true);
  });

  test.each(OTHERWISE)('%s: the money is let go after all, or is not', (resolution) => {
    const before = [...history.voiding, settled('void_unanswered', resolution)];
    expect(isFinal(after(before))).toBe(true);
    given(before)
      .when(command.voided)
      .thenEvents([later(event.released)]);
    given(before).when(command.voidRefused).thenEvents([]);
  });

  test.each(OTHERWISE)('%s: a refund: its pieces are paid back after all, or are not', (resolution) => {
    const before = [...refunding, settled('refund_unanswered', resolution, 'rfd_1')];
    expect(after(before)).toMatchObject({ refunded: gbp(0), refunds: { rfd_1: { status: 'given_up' } } });
    expect(after(before).lines[0]).toMatchObject({ refunded: 0, settled: 2, restocked: 2 });
    expect(isFinal(after(before))).toBe(true);
    given(before)
      .when(command.refunded)
      .thenEvents([later(event.refunded)]);
    given(before).when(command.refundRefused).thenEvents([]);
    const paid = after([...before, event.refunded]);
    expect(paid).toMatchObject({ refunded: gbp(510), refunds: { rfd_1: { status: 'paid' } } });
    expect(paid.lines[0]).toMatchObject({ refunded: 2, settled: 0 });
  });

  test('stopped by hand: shipping may say so too; that it has left is a contradiction', () => {
    const before = [...history.cancelling, settled('cancel_unanswered', 'done_elsewhere'), event.cancelled];
    given(before).when(command.shipmentCancelled).thenEvents([]);
    given(before).when(command.handedOver).thenThrows(NO);
  });

  test('counted as left: shipping may say so too, of the same pieces; anything else is a contradiction', () => {
    const left: OrderEvent = { type: 'OrderHandedOver', at: LATER };
    const written = settled('cancel_unanswered', 'written_off');
    const before = [...history.cancelling, written, event.cancelRefused, left];
    expect(after(before)).toMatchObject({ handedOver: true, waiting: { step: 'capture' } });
    expect(after(before).cancellation).toBeUndefined();
    given(before).when(command.handedOver).thenEvents([]);
    given(before)
      .when({ ...command.handedOver, lines: LESS_PIECES })
      .thenThrows(NO);
    given(before).when(command.shipmentCancelled).thenThrows(NO);
  });

  test('an amendment that is no longer waited for is made when shipping says so, or when it leaves so', () => {
    const before = [...history.amending, settled('amend_unanswered', 'written_off')];
    expect(after(before)).toMatchObject({ amendment: { id: 'amd_1' }, waiting: { step: 'hand_over' } });
    given(before)
      .when(command.shipmentAmended)
      .thenEvents([later(event.amended)]);
    given(before)
      .when({ ...command.handedOver, lines: LESS_PIECES })
      .thenEvents([later(event.amended), later(event.handedOver)]);
    given(before)
      .when(command.handedOver)
      .thenEvents([{ type: 'AmendmentRefused', amendmentId: 'amd_1', at: LATER }, later(event.handedOver)]);
  });
});

describe('an answer that has not come', () => {
  const overdue = (step: Step | 'refund', entry: number): OrderCommand => ({
    type: 'NoteStepOverdue',
    step,
    entry,
    at: LATER,
  });
  const refunding = [...history.delivered, event.refundRequested];
  const off = (reason: string): OrderEvent[] => [
    { type: 'OrderCancelled', cause: 'overdue', reason, at: LATER },
  ];

  const STEPS: [Step | 'refund', OrderEvent[], number, OrderEvent[]][] = [
    ['reserve', history.placed, 1, off('no stock was set aside in time')],
    ['authorise', history.held, 2, off('the payment was not authorised in time')],
    [
      'hand_over',
      history.confirmed,
      3,
      [
        {
          type: 'CancellationRequested',
          cause: 'overdue',
          reason: 'it was not handed over in time',
          at: LATER,
        },
      ],
    ],
    ['cancel', history.cancelling, 4, [person('cancel_unanswered', 'shipping has not answered')]],
    ['amend', history.amending, 4, [person('amend_unanswered', 'shipping has not answered')]],
    ['capture', history['handed over'], 4, [person('capture_unanswered', 'payments has not answered')]],
    ['deliver', history.shipped, 5, [person('deliver_unanswered', 'nobody has told of its arrival')]],
    ['void', history.voiding, 3, [person('void_unanswered', 'payments has not answered')]],
    ['refund', refunding, 6, [person('refund_unanswered', 'payments has not answered', 'rfd_1')]],
  ];

  test.each(STEPS)('in time, in step %s', (step, happened, entry, expected) => {
    given(happened).when(overdue(step, entry)).thenEvents(expected);
    // Twice.
    given([...happened, ...expected])
      .when(overdue(step, entry))
      .thenEvents([]);
  });

  test.each(STEPS)('of an earlier or a later entry into step %s changes nothing', (step, happened, entry) => {
    for (const other of [entry - 1, entry + 1]) given(happened).when(overdue(step, other)).thenEvents([]);
  });

  test.each(STEPS.map(([step, , entry]) => [step, entry] as const))(
    'of step %s in any other place changes nothing',
    (step, entry) => {
      for (const [name, happened] of Object.entries(history)) {
        const state = after(happened);
        const isThere =
          step === 'refund'
            ? Object.values(state.refunds).some((refund) => refund.status === 'asked')
            : state.waiting?.step === step && state.waiting.entry === entry;
        if (!isThere) expect([name, decide(overdue(step, entry), state)]).toEqual([name, []]);
      }
    },
  );

  test('of a step that was entered again counts from then', () => {
    const again = [...history.amending, event.amended];
    expect(after(again).waiting).toMatchObject({ step: 'hand_over', entry: 5 });
    given(again).when(overdue('hand_over', 3)).thenEvents([]);
  });

  test('because it was refused is no second problem', () => {
    given([...history['handed over'], needed('capture_refused')])
      .when(overdue('capture', 4))
      .thenEvents([]);
    given([...history.voiding, needed('void_refused')])
      .when(overdue('void', 3))
      .thenEvents([]);
  });

  test('about an amendment, when a cancellation is asked for: that is what is waited for', () => {
    const state = after([...history.amending, needed('amend_unanswered'), event.cancelRequested]);
    expect([state.problems, state.waiting?.step]).toEqual([[], 'cancel']);
  });

  test.each<[Problem, OrderEvent[], OrderEvent[]]>([
    ['cancel_unanswered', history.cancelling, [event.cancelled]],
    ['cancel_unanswered', history.cancelling, [event.cancelRefused, event.handedOver]],
    ['amend_unanswered', history.amending, [event.amended]],
    ['capture_unanswered', history['handed over'], [event.shipped]],
    ['deliver_unanswered', history.shipped, [event.delivered]],
    ['void_unanswered', history.voiding, [event.released]],
  ])('%s is settled by the answer', (problem, happened, answer) => {
    expect(after([...happened, needed(problem), ...answer]).problems).toEqual([]);
  });

  test('refund_unanswered is settled by the answer, of that refund alone', () => {
    const other = { ...event.refundRequested, refundId: 'rfd_2' } as OrderEvent;
    const state = after([
      ...refunding,
      other,
      needed('refund_unanswered', 'rfd_1'),
      needed('refund_unanswered', 'rfd_2'),
      event.refunded,
    ]);
    expect(state.problems).toMatchObject([{ refundId: 'rfd_2' }]);
  });
});
