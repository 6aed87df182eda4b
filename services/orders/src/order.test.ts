import { gbp } from '@sidecart/contracts/money';
import { specification } from '@sidecart/event-sourcing/testing';
import { DomainError } from '@sidecart/kit/domain-error';
import { describe, expect, test } from 'vitest';
import { order } from './aggregate.ts';
import {
  AT,
  command,
  event,
  history,
  LATER,
  LESS,
  LINES,
  NEW_LINES,
  needed,
  newLine,
  orderLine,
  TOTAL,
  type Where,
} from './fixture-histories.ts';
import { decide } from './order.ts';
import type { OrderCommand, OrderEvent, Problem, Quote, Resolution } from './order-events.ts';
import { evolve, initialState } from './order-state.ts';

const given = specification(order);
const later = (happened: OrderEvent): OrderEvent => ({ ...happened, at: LATER });

const quote = (sku: string, amount: number, status: Quote['status'] = 'active'): Quote => ({
  sku,
  status,
  unitPrice: gbp(amount),
});
const place: Extract<OrderCommand, { type: 'PlaceOrder' }> = {
  type: 'PlaceOrder',
  orderId: 'ord_1',
  actor: 'anonymous',
  customerId: '17850',
  lines: NEW_LINES,
  quotes: [quote('HEART', 255), quote('LANTERN', 1000)],
  paymentToken: 'tok_ok',
  at: AT,
};

/** What is thrown, and the places said to be at fault. */
function refusal(history: readonly OrderEvent[], command: OrderCommand) {
  try {
    decide(command, history.reduce(evolve, initialState()));
  } catch (err) {
    if (err instanceof DomainError)
      return {
        kind: err.kind,
        code: err.code,
        at: err.errors?.map((fault) => `${fault.pointer} ${fault.code}`),
      };
    throw err;
  }
  throw new Error('Expected a DomainError');
}

describe('placing', () => {
  test('an order at the current prices places it, with its total', () => {
    given([]).when(place).thenEvents([event.placed]);
  });

  test('without a customer is fine', () => {
    const { customerId: _, ...anonymous } = place;
    const { customerId: __, ...placed } = event.placed as Extract<OrderEvent, { type: 'OrderPlaced' }>;
    given([]).when(anonymous).thenEvents([placed]);
  });

  test('at a price that has changed is refused with the current one, also at a lower one: the customer decides', () => {
    for (const amount of [295, 100]) {
      const changed = { ...place, quotes: [quote('HEART', amount), quote('LANTERN', 1000)] };
      expect(refusal([], changed)).toEqual({
        kind: 'conflict',
        code: 'price_changed',
        at: ['/lines/0/unit_price price_changed'],
      });
    }
  });

  test('an unknown or retired product is refused', () => {
    expect(refusal([], { ...place, quotes: [quote('HEART', 255)] })).toEqual({
      kind: 'refused',
      code: 'unknown_product',
      at: ['/lines/1/sku unknown_product'],
    });
    const retired = [quote('HEART', 255, 'retired'), quote('LANTERN', 1000)];
    expect(refusal([], { ...place, quotes: retired })).toMatchObject({ code: 'product_retired' });
  });

  test('an order with several faults names every line, under the gravest code', () => {
    const lines = [newLine('HEART', 1, 1), newLine('GONE', 1, 5), newLine('NOTHING', 1, 5)];
    const quotes = [quote('HEART', 255), quote('GONE', 5, 'retired')];
    expect(refusal([], { ...place, lines, quotes })).toEqual({
      kind: 'refused',
      code: 'unknown_product',
      at: [
        '/lines/0/unit_price price_changed',
        '/lines/1/sku product_retired',
        '/lines/2/sku unknown_product',
      ],
    });
  });

  test('a product on two lines is refused', () => {
    const lines = [newLine('HEART', 1, 255), newLine('HEART', 2, 255)];
    expect(refusal([], { ...place, lines })).toMatchObject({
      code: 'duplicate_line',
      at: ['/lines/1/sku duplicate_line'],
    });
  });

  test('SKUs that differ by case are two products', () => {
    const lines = [newLine('15056bl', 1, 100), newLine('15056BL', 1, 200)];
    const quotes = [quote('15056bl', 100), quote('15056BL', 200)];
    expect(decide({ ...place, lines, quotes }, initialState())).toMatchObject([{ total: gbp(300) }]);
  });

  test('an id twice is refused', () => {
    given(history.placed).when(place).thenThrows('order_exists');
  });

  test('the largest order that the contracts allow is counted exactly', () => {
    const lines = Array.from({ length: 500 }, (_, i) => newLine(`S${i}`, 100_000, 100_000_000));
    const quotes = lines.map(({ sku }) => quote(sku, 100_000_000));
    const [placed] = decide({ ...place, lines, quotes }, initialState());
    expect(placed).toMatchObject({ total: gbp(5_000_000_000_000_000) });
  });
});

test.each(Object.entries(command))('%s of an order that nobody placed is not found', (_, one) => {
  given([]).when(one).thenThrows('not_found');
});

/** What people may ask, wherever the order is: the types of what happens, or the code of the refusal. */
const PEOPLE: Record<'cancel' | 'amend' | 'refund', Record<Where, string>> = {
  cancel: {
    placed: 'OrderCancelled',
    held: 'OrderCancelled',
    confirmed: 'CancellationRequested',
    amending: 'CancellationRequested',
    cancelling: '',
    'handed over': 'order_not_cancellable',
    shipped: 'order_not_cancellable',
    delivered: 'order_not_cancellable',
    lost: 'order_not_cancellable',
    'out of stock': 'order_not_cancellable',
    declined: 'order_not_cancellable',
    cancelled: '',
    voiding: '',
    released: '',
    'confirmed before': 'OrderCancelled',
  },
  amend: {
    placed: 'OrderAmended',
    held: 'OrderAmended',
    confirmed: 'AmendmentRequested',
    amending: '',
    cancelling: 'order_busy',
    'handed over': 'order_not_amendable',
    shipped: 'order_not_amendable',
    delivered: 'order_not_amendable',
    lost: 'order_not_amendable',
    'out of stock': 'order_not_amendable',
    declined: 'order_not_amendable',
    cancelled: 'order_not_amendable',
    voiding: 'order_not_amendable',
    released: 'order_not_amendable',
    'confirmed before': 'OrderAmended',
  },
  refund: {
    placed: 'order_not_refundable',
    held: 'order_not_refundable',
    confirmed: 'order_not_refundable',
    amending: 'order_not_refundable',
    cancelling: 'order_not_refundable',
    'handed over': 'order_not_refundable',
    shipped: 'RefundRequested',
    delivered: 'RefundRequested',
    lost: 'refund_too_much',
    'out of stock': 'order_not_refundable',
    declined: 'order_not_refundable',
    cancelled: 'order_not_refundable',
    voiding: 'order_not_refundable',
    released: 'order_not_refundable',
    'confirmed before': 'order_not_refundable',
  },
};

describe.each(Object.entries(PEOPLE))('to %s', (what, where) => {
  test.each(Object.entries(where))('an order that is %s: %s', (is, expected) => {
    const state = history[is as Where].reduce(evolve, initialState());
    const decided = () => decide(command[what as keyof typeof PEOPLE], state).map(({ type }) => type);
    if (/^[a-z]/.test(expected))
      expect(refusal(history[is as Where], command[what as keyof typeof PEOPLE]).code).toBe(expected);
    else expect(decided().join()).toBe(expected);
  });
});

test.each(Object.entries(history))('an order that is %s has nothing to settle', (_, happened) => {
  given(happened).when(command.settle).thenThrows('nothing_to_settle');
});

describe('cancelling', () => {
  test('says why', () => {
    given(history.held)
      .when(command.cancel)
      .thenEvents([later(event.cancelled)]);
    given(history.confirmed)
      .when(command.cancel)
      .thenEvents([later(event.cancelRequested)]);
  });

  test('is refused as soon as anybody has told that it arrived: the hand-over will be told too', () => {
    given([...history.confirmed, event.delivered])
      .when(command.cancel)
      .thenThrows('order_not_cancellable');
  });

  test('again after it was refused by the hand-over is refused', () => {
    given([...history.cancelling, event.cancelRefused, event.handedOver])
      .when(command.cancel)
      .thenThrows('order_not_cancellable');
  });
});

describe('amending', () => {
  const amend = (changes: { sku: string; quantity: number }[]): OrderCommand => ({
    ...command.amend,
    changes,
  });

  test('nobody packs yet: it is for less from now on', () => {
    given(history.held)
      .when(command.amend)
      .thenEvents([{ ...later(event.amended), reason: 'too many' } as OrderEvent]);
  });

  test('of a confirmed order shipping is asked', () => {
    given(history.confirmed)
      .when(command.amend)
      .thenEvents([later(event.amendRequested)]);
  });

  test('once more to what it is, changes nothing; a line that was taken off is none', () => {
    given([...history.held, event.amended])
      .when(command.amend)
      .thenEvents([]);
    const hearts = [orderLine('HEART', 3, 255)];
    const offer = {
      ...event.amended,
      lines: hearts,
      total: gbp(765),
      released: [{ sku: 'LANTERN', quantity: 2 }],
    };
    given([...history.held, offer as OrderEvent])
      .when(amend([{ sku: 'LANTERN', quantity: 0 }]))
      .thenEvents([]);
  });

  test('to something else while shipping is asked waits for its answer, also back to what it was', () => {
    given(history.amending)
      .when(amend([{ sku: 'HEART', quantity: 2 }]))
      .thenThrows('order_busy');
    given(history.amending)
      .when(amend([{ sku: 'HEART', quantity: 3 }]))
      .thenThrows('order_busy');
  });

  test('to more, to nothing, or of what is not on it, is refused', () => {
    given(history.placed)
      .when(amend([{ sku: 'HEART', quantity: 4 }]))
      .thenThrows('amend_only_less');
    given(history.placed)
      .when(amend([{ sku: 'ROSE', quantity: 1 }]))
      .thenThrows('not_on_order');
    const nothing = LINES.map(({ sku }) => ({ sku, quantity: 0 }));
    given(history.placed).when(amend(nothing)).thenThrows('amend_leaves_nothing');
  });
});

describe('refunding', () => {
  test('pieces asks for their money', () => {
    given(history.delivered)
      .when(command.refund)
      .thenEvents([later(event.refundRequested)]);
  });

  test('without pieces asks for the money of all that is left', () => {
    given([...history.delivered, event.refundRequested])
      .when({ ...command.refund, refundId: 'rfd_2', lines: undefined })
      .thenEvents([
        {
          ...later(event.refundRequested),
          refundId: 'rfd_2',
          amount: gbp(2255),
          lines: [
            { sku: 'HEART', quantity: 1 },
            { sku: 'LANTERN', quantity: 2 },
          ],
        } as OrderEvent,
      ]);
  });

  test('the same refund twice changes nothing', () => {
    given([...history.delivered, event.refundRequested])
      .when(command.refund)
      .thenEvents([]);
  });

  test('pieces that are paid back, are being, or a person has seen to, is refused', () => {
    const again = { ...command.refund, refundId: 'rfd_2' };
    const asked = [...history.delivered, event.refundRequested];
    given(asked).when(again).thenThrows('refund_too_much');
    given([...asked, event.refunded])
      .when(again)
      .thenThrows('refund_too_much');
    given([...asked, event.refundRefused])
      .when(again)
      .thenThrows('refund_too_much');
  });

  test('what was written off has no money to give back', () => {
    const writtenOff = settled('capture_refused', 'written_off');
    given([...history['handed over'], needed('capture_refused'), writtenOff])
      .when(command.refund)
      .thenThrows('order_not_refundable');
  });
});

function settled(problem: Problem, resolution: Resolution, refundId?: string): OrderEvent {
  return { type: 'OrderSettled', problem, refundId, resolution, note: 'seen to', at: LATER };
}

/** Where each problem comes up. */
const TROUBLE: Record<Problem, OrderEvent[]> = {
  capture_refused: [...history['handed over'], needed('capture_refused')],
  capture_unanswered: [...history['handed over'], needed('capture_unanswered')],
  void_refused: [...history.voiding, needed('void_refused')],
  void_unanswered: [...history.voiding, needed('void_unanswered')],
  refund_refused: [
    ...history.delivered,
    event.refundRequested,
    event.refundRefused,
    needed('refund_refused', 'rfd_1'),
  ],
  refund_unanswered: [...history.delivered, event.refundRequested, needed('refund_unanswered', 'rfd_1')],
  cancel_unanswered: [...history.cancelling, needed('cancel_unanswered')],
  amend_unanswered: [...history.amending, needed('amend_unanswered')],
  deliver_unanswered: [...history.shipped, needed('deliver_unanswered')],
};
const refundOf = (problem: Problem) => (problem.startsWith('refund') ? 'rfd_1' : undefined);
/** Not answered, asked again, and not answered in time either. */
const TWICE = (problem: Problem): OrderEvent[] => [
  ...TROUBLE[problem],
  settled(problem, 'try_again', refundOf(problem)),
  needed(problem, refundOf(problem)),
];

describe('settling', () => {
  const settle = (resolution: Resolution, more: object = {}): OrderCommand => ({
    ...command.settle,
    resolution,
    ...more,
  });
  const POSSIBLE: [Problem, Resolution[]][] = [
    ['capture_refused', ['try_again', 'done_elsewhere', 'written_off']],
    ['void_refused', ['try_again', 'done_elsewhere', 'written_off']],
    ['refund_refused', ['try_again', 'done_elsewhere', 'written_off']],
    ['deliver_unanswered', ['try_again', 'done_elsewhere']],
    ['capture_unanswered', ['try_again', 'done_elsewhere', 'written_off']],
    ['void_unanswered', ['try_again', 'done_elsewhere', 'written_off']],
    ['refund_unanswered', ['try_again', 'done_elsewhere', 'written_off']],
    ['cancel_unanswered', ['try_again', 'done_elsewhere', 'written_off']],
    ['amend_unanswered', ['try_again', 'written_off']],
  ];
  const UNANSWERED = POSSIBLE.map(([problem]) => problem).filter(
    (problem) => problem.endsWith('unanswered') && problem !== 'deliver_unanswered',
  );

  test.each(POSSIBLE)('%s can be settled by %j and no other way', (problem, possible) => {
    for (const resolution of ['try_again', 'done_elsewhere', 'written_off'] as const) {
      const before = UNANSWERED.includes(problem) ? TWICE(problem) : TROUBLE[problem];
      const settling = given(before).when(settle(resolution));
      if (!possible.includes(resolution)) settling.thenThrows('settlement_not_possible');
      else {
        const also: OrderEvent[] = [];
        if (problem === 'refund_refused' && resolution === 'try_again')
          also.push({
            type: 'RefundRequested',
            refundId: 'rfd_2',
            amount: gbp(510),
            lines: [{ sku: 'HEART', quantity: 2 }],
            // They came back the first time.
            restock: false,
            reason: 'seen to',
            at: LATER,
          });
        if (problem === 'deliver_unanswered' && resolution === 'done_elsewhere')
          also.push(later(event.delivered));
        if (problem === 'cancel_unanswered' && resolution === 'done_elsewhere')
          also.push(later(event.cancelled));
        if (problem === 'cancel_unanswered' && resolution === 'written_off')
          also.push(later(event.cancelRefused), { type: 'OrderHandedOver', at: LATER });
        settling.thenEvents([settled(problem, resolution, refundOf(problem)), ...also]);
      }
    }
  });

  test.each(POSSIBLE)('%s twice is refused the second time', (problem, [first = 'try_again']) => {
    const once = decide(settle(first), TROUBLE[problem].reduce(evolve, initialState()));
    given([...TROUBLE[problem], ...once])
      .when(settle(first))
      .thenThrows('nothing_to_settle');
  });

  test.each(UNANSWERED)('%s is first tried again: an answer that is late would be the rule', (problem) => {
    for (const resolution of ['done_elsewhere', 'written_off'] as const)
      if (resolution === 'written_off' || problem !== 'amend_unanswered')
        expect(refusal(TROUBLE[problem], settle(resolution))).toEqual({
          kind: 'conflict',
          code: 'settlement_too_early',
          at: ['/resolution settlement_too_early'],
        });
  });

  test('one refund that was asked for twice says nothing of another', () => {
    const other = { ...event.refundRequested, refundId: 'rfd_2', lines: [{ sku: 'LANTERN', quantity: 1 }] };
    const both = [...TWICE('refund_unanswered'), other as OrderEvent, needed('refund_unanswered', 'rfd_2')];
    given(both)
      .when(settle('written_off', { refundId: 'rfd_2' }))
      .thenThrows('settlement_too_early');
  });

  test('a step that was entered anew is asked for once more, whatever was asked before', () => {
    const again = [...TWICE('amend_unanswered'), event.cancelRequested, needed('cancel_unanswered')];
    given(again).when(settle('done_elsewhere')).thenThrows('settlement_too_early');
  });

  test('a cancellation: what is told to have arrived was not stopped', () => {
    given([...TWICE('cancel_unanswered'), event.delivered])
      .when(settle('done_elsewhere'))
      .thenThrows('order_not_cancellable');
  });

  test('a cancellation that came to nothing takes an amendment with it: it has left as it was', () => {
    const both = [...history.amending, event.cancelRequested, needed('cancel_unanswered')];
    const twice = [...both, settled('cancel_unanswered', 'try_again'), needed('cancel_unanswered')];
    given(twice)
      .when(settle('written_off'))
      .thenEvents([
        settled('cancel_unanswered', 'written_off'),
        { type: 'AmendmentRefused', amendmentId: 'amd_1', at: LATER },
        later(event.cancelRefused),
        { type: 'OrderHandedOver', at: LATER },
      ]);
  });

  const two = [
    ...TROUBLE.refund_refused,
    {
      ...event.refundRequested,
      refundId: 'rfd_9',
      lines: [{ sku: 'LANTERN', quantity: 1 }],
      amount: gbp(1000),
    },
    { ...event.refundRefused, refundId: 'rfd_9' },
    needed('refund_refused', 'rfd_9'),
  ] as OrderEvent[];

  test('without a name is about the oldest of several', () => {
    given(two)
      .when(settle('written_off'))
      .thenEvents([settled('refund_refused', 'written_off', 'rfd_1')]);
  });

  test('by name is about that one, and twice is not about the other', () => {
    const named = { problem: 'refund_refused', refundId: 'rfd_9' };
    const once = [settled('refund_refused', 'written_off', 'rfd_9')];
    given(two).when(settle('written_off', named)).thenEvents(once);
    given([...two, ...once])
      .when(settle('written_off', named))
      .thenThrows('nothing_to_settle');
  });

  test('a problem that is not open is refused', () => {
    given(two)
      .when(settle('try_again', { problem: 'capture_refused' }))
      .thenThrows('nothing_to_settle');
  });
});

test('what an amendment leaves is what the order is for', () => {
  const state = [...history.held, event.amended].reduce(evolve, initialState());
  expect(state).toMatchObject({ lines: LESS });
  expect(TOTAL.amount - 2 * 255).toBe(2255);
});
