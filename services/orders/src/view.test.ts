import { gbp } from '@sidecart/contracts/money';
import { Order } from '@sidecart/contracts/orders';
import { describe, expect, test } from 'vitest';
import { AT, event, history, LATER, needed, TOTAL, type Where } from './fixture-histories.ts';
import type { OrderEvent, Problem } from './order-events.ts';
import { evolve, initialState, isFinal } from './order-state.ts';
import { toHistoryEntry, toOrder } from './view.ts';

const after = (happened: readonly OrderEvent[]) => happened.reduce(evolve, initialState());
const shown = (happened: readonly OrderEvent[]) => toOrder(after(happened));

const WORDS: Record<Where, [string, string, string] | [string]> = {
  placed: ['placed', 'reserve', 'inventory to set the stock aside'],
  held: ['placed', 'authorise', 'payments to have the money held'],
  confirmed: ['confirmed', 'hand_over', 'the packages to be handed to the carrier'],
  amending: ['confirmed', 'amend', 'shipping to say whether it can still be changed'],
  cancelling: ['confirmed', 'cancel', 'shipping to say whether it can still be stopped'],
  'handed over': ['confirmed', 'capture', 'payments to take the money'],
  shipped: ['shipped', 'deliver', 'the carrier to deliver'],
  delivered: ['delivered'],
  lost: ['lost', 'refund', 'payments to give the money back'],
  'out of stock': ['rejected'],
  declined: ['rejected'],
  cancelled: ['cancelled'],
  voiding: ['cancelled', 'void', 'payments to let go of the money'],
  released: ['cancelled'],
  'confirmed before': ['confirmed'],
};

test.each(Object.entries(WORDS))('an order that is %s says so: %j', (where, [status, step, waits_for]) => {
  const { progress, ...order } = shown(history[where as Where]);
  expect(order.status).toBe(status);
  expect(progress).toEqual(step === undefined ? undefined : { step, since: AT, waits_for });
  expect(isFinal(after(history[where as Where]))).toBe(progress === undefined);
});

test('an order as the contract has it', () => {
  const whole = JSON.parse(
    JSON.stringify(shown([...history.delivered, event.refundRequested, event.refunded])).replaceAll(
      /(ord|rfd)_1/g,
      '$1_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42',
    ),
  );
  expect(Order.strict().parse(whole)).toEqual(whole);
  expect(whole).toMatchObject({
    total: TOTAL,
    paid: TOTAL,
    refunded: gbp(510),
    lines: [{ refunded: 2, restocked: 2 }, {}],
  });
});

describe('what needs a person', () => {
  const words: [Problem, readonly OrderEvent[], string][] = [
    ['capture_refused', history['handed over'], 'the order has left, and the provider refuses the money: no'],
    ['void_refused', history.voiding, 'the order is off, and the provider keeps holding the money: no'],
    ['cancel_unanswered', history.cancelling, 'shipping does not say whether it can be stopped: no'],
    ['amend_unanswered', history.amending, 'shipping does not say whether it can be changed: no'],
    [
      'capture_unanswered',
      history['handed over'],
      'the order has left, and payments does not say whether it is paid: no',
    ],
    [
      'void_unanswered',
      history.voiding,
      'the order is off, and payments does not say whether the money was let go: no',
    ],
    ['deliver_unanswered', history.shipped, 'nobody tells of its arrival: no'],
  ];

  test.each(words)('%s comes before what is waited for', (problem_code, happened, problem) => {
    expect(shown([...happened, needed(problem_code)]).progress).toEqual({
      step: 'person',
      since: AT,
      waits_for: 'somebody to settle it',
      problem,
      problem_code,
    });
  });

  test.each<Problem>(['refund_refused', 'refund_unanswered'])('%s names the refund', (problem_code) => {
    const asked = [...history.delivered, event.refundRequested];
    expect(shown([...asked, needed(problem_code, 'rfd_1')]).progress).toMatchObject({
      problem_code,
      refund_id: 'rfd_1',
    });
  });

  test('of several the oldest is shown', () => {
    const first = { ...needed('refund_unanswered', 'rfd_1'), at: LATER };
    const both = [...history.delivered, event.refundRequested, first, needed('refund_refused', 'rfd_2')];
    expect(shown(both).progress).toMatchObject({ since: LATER, refund_id: 'rfd_1' });
  });
});

test('what was cancelled says why, if anybody has; what is only asked for is not cancelled', () => {
  expect(shown(history.voiding).cancellation).toEqual({ reason: 'wrong size' });
  expect(shown(history.cancelling)).not.toHaveProperty('cancellation');
});

describe('a history entry', () => {
  const recorded = (happened: OrderEvent, meta: object = {}) =>
    toHistoryEntry({
      streamId: 'ord_1',
      version: 1,
      at: new Date(LATER),
      meta: { actor: 'ann', ...meta },
      event: happened,
    });

  test('says what, when by the database, who, why and from which request and trace', () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    expect(
      recorded(event.cancelled, { command: 'CancelOrder', requestId: 'r', causationId: 'c', traceparent }),
    ).toEqual({
      version: 1,
      type: 'OrderCancelled',
      at: LATER,
      actor: 'ann',
      command: 'CancelOrder',
      request_id: 'r',
      caused_by: 'c',
      trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
      details: { reason: 'wrong size', cause: 'customer' },
    });
  });

  test('does not say what the customer pays with', () => {
    expect(JSON.stringify(recorded(event.placed))).not.toContain('tok_ok');
  });
});
