import { describe, expect, test } from 'vitest';
import { order } from './aggregate.ts';
import { event, history, LATER, needed, type Where } from './fixture-histories.ts';
import type { OrderEvent, Problem } from './order-events.ts';
import { evolve, initialState, isFinal, type Order, type OrderState } from './order-state.ts';
import { toOrder } from './view.ts';

const after = (happened: readonly OrderEvent[]) => happened.reduce(evolve, initialState());
const unknown = { type: 'OrderGiftWrapped', paper: 'red' } as unknown as OrderEvent;

describe.each(Object.entries(history))('an order that is %s', (_, happened) => {
  test('takes any event as it is, and can be shown', () => {
    for (const next of Object.values(event)) toOrder(evolve(after(happened), next));
  });

  test('stays as it is after an event that this code does not know', () => {
    const state = after(happened);
    expect(evolve(state, unknown)).toBe(state);
  });

  test('is of the time of its last event, and is what JSON can say', () => {
    const last = { ...happened.at(-1), at: LATER } as OrderEvent;
    const state = after([...happened.slice(0, -1), last]) as Order;
    expect(state.updatedAt).toBe(LATER);
    expect(JSON.parse(JSON.stringify(state))).toStrictEqual(state);
  });
});

test('nothing happens to an order that nobody placed', () => {
  for (const next of [...Object.values(event).filter(({ type }) => type !== 'OrderPlaced'), unknown])
    expect(evolve(initialState(), next)).toEqual(initialState());
});

test('what is condensed by policy is an order at its end, no other', () => {
  const refused = [event.refundRequested, event.refundRefused, needed('refund_refused', 'rfd_1')];
  for (const happened of [
    ...Object.values(history),
    [...history.delivered, event.refundRequested],
    [...history.delivered, ...refused],
  ])
    expect(order.isClosed?.(after(happened))).toBe(isFinal(after(happened)));
});

test('an order is at its end when nothing is awaited, nobody is needed and no money is on its way back', () => {
  const final: Where[] = [
    'delivered',
    'out of stock',
    'declined',
    'cancelled',
    'released',
    // It was its end in the release before.
    'confirmed before',
  ];
  for (const [where, happened] of Object.entries(history))
    expect([where, isFinal(after(happened))]).toEqual([where, final.includes(where as Where)]);
  expect(isFinal(initialState())).toBe(false);
  const refunding = [...history.delivered, event.refundRequested];
  const ends = (more: OrderEvent[]): OrderState => after([...refunding, ...more]);
  expect(isFinal(ends([]))).toBe(false);
  expect(isFinal(ends([event.refunded]))).toBe(true);
  const refused = [event.refundRefused, needed('refund_refused', 'rfd_1')];
  expect(isFinal(ends(refused))).toBe(false);
  const settled = (problem: Problem): OrderEvent => ({
    type: 'OrderSettled',
    problem,
    refundId: 'rfd_1',
    resolution: 'done_elsewhere',
    note: 'in cash',
    at: LATER,
  });
  expect(isFinal(ends([...refused, settled('refund_refused')]))).toBe(true);
});
