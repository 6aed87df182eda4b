import type { ShortLine, StockLine } from '@sidecart/contracts/common';
import { addMoney, gbp, type Money } from '@sidecart/contracts/money';
import { DomainError } from '@sidecart/kit/domain-error';
import type { CancelCause, OrderEvent, Problem, Step } from './order-events.ts';
import { counted, type OrderLine } from './order-lines.ts';

/** What an order waits for; `entry` counts the steps entered, so that a deadline of an earlier one is known. */
export interface Waiting {
  step: Step;
  since: string;
  entry: number;
  /** A person has asked once more. */
  again?: true | undefined;
}

export interface Refund {
  amount: Money;
  lines: readonly StockLine[];
  restock: boolean;
  /** `given_up`: nobody has answered, and a person has settled it; it may be paid all the same. */
  status: 'asked' | 'paid' | 'refused' | 'given_up' | 'closed';
  since: string;
  entry: number;
  again?: true | undefined;
}

export interface OpenProblem {
  problem: Problem;
  refundId?: string | undefined;
  detail: string;
  since: string;
}

export interface Order {
  status: 'placed' | 'confirmed' | 'shipped' | 'delivered' | 'rejected' | 'cancelled' | 'lost';
  orderId: string;
  actor: string;
  customerId?: string | undefined;
  paymentToken: string;
  lines: readonly OrderLine[];
  placedAt: string;
  updatedAt: string;
  /** Steps entered and refunds asked for so far. */
  entries: number;
  waiting?: Waiting | undefined;
  /** The provider was asked to hold the money. */
  paymentAsked: boolean;
  /** No money is held any more, nor will be: the order is off. */
  paymentReleased?: true | undefined;
  paid: Money;
  refunded: Money;
  handedOver: boolean;
  /** Word of it may come before word of the hand-over, and before the money. */
  arrived?: 'delivered' | 'lost' | undefined;
  cancellation?: { reason?: string | undefined; cause: CancelCause } | undefined;
  amendment?: { id: string; lines: readonly OrderLine[] } | undefined;
  rejection?: { reason: 'out_of_stock' | 'payment_declined'; short: readonly ShortLine[] } | undefined;
  refunds: Readonly<Record<string, Refund>>;
  problems: readonly OpenProblem[];
}

/** The whole of an order. Nothing of it is undefined that JSON would not leave out as well. */
export type OrderState = { status: 'none' } | Order;

export function initialState(): OrderState {
  return { status: 'none' };
}

/** @throws DomainError `not_found` for an order that nobody placed. */
export function existing(state: OrderState): Order {
  if (state.status === 'none') throw new DomainError('not-found', 'not_found', {});
  return state;
}

/**
 * The state after an event. Never throws: an event has happened, whatever we think of it now. One that newer code has appended and this
 * code does not know leaves the state as it is.
 */
export function evolve(state: OrderState, event: OrderEvent): OrderState {
  if (event.type === 'OrderPlaced') return placed(event);
  if (state.status === 'none') return state;
  const next = change(state, event);
  return next === state ? state : { ...next, updatedAt: event.at };
}

/** A final state: nothing is awaited, no problem is open, no refund is under way. */
export function isFinal(state: OrderState): boolean {
  if (state.status === 'none') return false;
  const refunding = Object.values(state.refunds).some(({ status }) => status === 'asked');
  return !state.waiting && state.problems.length === 0 && !refunding;
}

/** Shipping was asked to pack it, so shipping has to be asked before anything of it is changed. */
export function isPacked(order: Order): boolean {
  return order.status === 'confirmed' && order.paymentAsked;
}

/** It has left, as far as anybody has told. */
export function hasLeft(order: Order): boolean {
  return order.handedOver || order.arrived !== undefined;
}

function placed(event: Extract<OrderEvent, { type: 'OrderPlaced' }>): Order {
  return {
    status: 'placed',
    orderId: event.orderId,
    actor: event.actor,
    ...(event.customerId !== undefined && { customerId: event.customerId }),
    paymentToken: event.paymentToken,
    lines: event.lines.map((line) => ({ ...line, refunded: 0, settled: 0, restocked: 0 })),
    placedAt: event.at,
    updatedAt: event.at,
    entries: 1,
    waiting: { step: 'reserve', since: event.at, entry: 1 },
    paymentAsked: false,
    paid: gbp(0),
    refunded: gbp(0),
    handedOver: false,
    refunds: {},
    problems: [],
  };
}

function change(order: Order, event: OrderEvent): Order {
  switch (event.type) {
    case 'OrderPlaced':
      return order;
    case 'StockHeld':
      return { ...enter(order, 'authorise', event.at), paymentAsked: true };
    case 'OrderConfirmed':
      return {
        ...(event.paymentId === undefined ? ended(order) : enter(order, 'hand_over', event.at)),
        status: 'confirmed',
      };
    case 'OrderRejected':
      return { ...ended(order), status: 'rejected', rejection: { reason: event.reason, short: event.short } };
    case 'CancellationRequested':
      // Its answer is that to a pending amendment too.
      return {
        ...enter(solve(order, 'amend_unanswered'), 'cancel', event.at),
        cancellation: { ...reasonOf(event), cause: event.cause },
      };
    case 'CancellationRefused':
      return without(solve(order, 'cancel_unanswered'), 'cancellation');
    case 'OrderCancelled':
      return {
        ...without(cancelled(solve(order, 'cancel_unanswered'), event.at), 'amendment'),
        status: 'cancelled',
        cancellation: { ...reasonOf(event), cause: event.cause },
      };
    case 'PaymentReleased':
      return { ...ended(solve(order, 'void_refused', 'void_unanswered')), paymentReleased: true };
    case 'AmendmentRequested':
      return {
        ...enter(order, 'amend', event.at),
        amendment: { id: event.amendmentId, lines: event.lines },
      };
    case 'AmendmentRefused':
      return afterAmendment(order, event.at);
    case 'OrderAmended':
      return { ...afterAmendment(order, event.at), lines: event.lines };
    case 'OrderHandedOver':
      return { ...enter(order, 'capture', event.at), handedOver: true };
    case 'OrderShipped':
      return shipped(order, event.paid, event.at);
    case 'OrderDelivered':
      return arrived(solve(order, 'deliver_unanswered'), 'delivered');
    case 'OrderLost':
      return arrived(solve(order, 'deliver_unanswered'), 'lost');
    case 'RefundRequested': {
      const { refundId, amount, lines, restock, at } = event;
      const entries = order.entries + 1;
      const refund: Refund = { amount, lines, restock, status: 'asked', since: at, entry: entries };
      return {
        ...order,
        entries,
        lines: counted(order.lines, lines, { refunded: 1, restocked: restock ? 1 : 0 }),
        refunds: { ...order.refunds, [refundId]: refund },
      };
    }
    case 'OrderRefunded':
      return {
        ...withRefund(solveRefund(order, event.refundId), event.refundId, 'paid'),
        // Paid after all, though it was refused or given up: no person need see to it.
        lines: ['refused', 'given_up'].includes(order.refunds[event.refundId]?.status ?? '')
          ? counted(order.lines, piecesOf(order, event.refundId), { refunded: 1, settled: -1 })
          : order.lines,
        refunded: addMoney([order.refunded, event.amount]),
      };
    case 'RefundRefused':
      return {
        ...withRefund(solveRefund(order, event.refundId), event.refundId, 'refused'),
        lines: counted(order.lines, piecesOf(order, event.refundId), { refunded: -1, settled: 1 }),
      };
    case 'PersonNeeded':
      return withProblem(order, event);
    case 'OrderSettled':
      return settled(order, event);
    default:
      event satisfies never;
      return order;
  }
}

function enter(order: Order, step: Step, at: string): Order {
  const entries = order.entries + 1;
  return { ...order, entries, waiting: { step, since: at, entry: entries } };
}

/** Because a person has asked once more. */
function reenter(order: Order, step: Step, at: string): Order {
  const { entries } = order;
  return { ...order, entries: entries + 1, waiting: { step, since: at, entry: entries + 1, again: true } };
}

function ended(order: Order): Order {
  return without(order, 'waiting');
}

/** Payments has still to say that it has let go of the money. */
function cancelled(order: Order, at: string): Order {
  return order.paymentAsked ? enter(order, 'void', at) : ended(order);
}

/** A refusal is an answer: that there was none is no problem any more. */
const ANSWERED_BY: Partial<Record<Problem, Problem>> = {
  capture_refused: 'capture_unanswered',
  void_refused: 'void_unanswered',
};

function withProblem(order: Order, event: Extract<OrderEvent, { type: 'PersonNeeded' }>): Order {
  const { problem, refundId, detail, at } = event;
  const answered = ANSWERED_BY[problem];
  const others = answered ? solve(order, answered).problems : order.problems;
  const open = { problem, ...(refundId !== undefined && { refundId }), detail, since: at };
  return { ...order, problems: [...others, open] };
}

/** Absent, not undefined: what is stored and what is computed are to be the same. */
function without<K extends keyof Order>(order: Order, key: K): Order {
  const { [key]: _, ...rest } = order;
  return rest as Order;
}

function reasonOf({ reason }: { reason?: string | undefined }): { reason?: string } {
  return reason === undefined ? {} : { reason };
}

/** It is settled by what has happened since. */
function solve(order: Order, ...problems: Problem[]): Order {
  return { ...order, problems: order.problems.filter(({ problem }) => !problems.includes(problem)) };
}

function solveRefund(order: Order, id: string): Order {
  return { ...order, problems: order.problems.filter(({ refundId }) => refundId !== id) };
}

function piecesOf(order: Order, refundId: string | undefined): readonly StockLine[] {
  return order.refunds[refundId ?? '']?.lines ?? [];
}

function withRefund(order: Order, id: string, status: Refund['status']): Order {
  const refund = order.refunds[id];
  return refund ? { ...order, refunds: { ...order.refunds, [id]: { ...refund, status } } } : order;
}

/** Shipping waits for the hand-over again, unless a cancellation is under way or nothing was asked of it. */
function afterAmendment(order: Order, at: string): Order {
  const done = without(solve(order, 'amend_unanswered'), 'amendment');
  return order.waiting?.step === 'amend' ? enter(done, 'hand_over', at) : done;
}

function shipped(order: Order, paid: Money, at: string): Order {
  const is: Order = {
    ...solve(order, 'capture_refused', 'capture_unanswered'),
    status: 'shipped',
    paid,
  };
  return is.arrived ? { ...ended(is), status: is.arrived } : enter(is, 'deliver', at);
}

/** Word of the arrival can come before that of the hand-over and of the payment; the order then still waits for them. */
function arrived(order: Order, how: 'delivered' | 'lost'): Order {
  const is: Order = { ...order, arrived: how };
  return order.status === 'shipped' ? { ...ended(is), status: how } : is;
}

function settled(order: Order, event: Extract<OrderEvent, { type: 'OrderSettled' }>): Order {
  const { problem, refundId, resolution, at } = event;
  const solved: Order = {
    ...order,
    problems: order.problems.filter((open) => open.problem !== problem || open.refundId !== refundId),
  };
  const isAgain = resolution === 'try_again';
  switch (problem) {
    case 'capture_refused':
    case 'capture_unanswered':
      return isAgain ? reenter(solved, 'capture', at) : shipped(solved, order.paid, at);
    case 'refund_refused': {
      const pieces = piecesOf(order, refundId);
      const again = isAgain ? { settled: -1 as const } : {};
      return { ...withRefund(solved, refundId ?? '', 'closed'), lines: counted(order.lines, pieces, again) };
    }
    case 'refund_unanswered': {
      if (isAgain) return askAgain(solved, refundId ?? '', at);
      const lines = counted(order.lines, piecesOf(order, refundId), { refunded: -1, settled: 1 });
      return { ...withRefund(solved, refundId ?? '', 'given_up'), lines };
    }
    case 'cancel_unanswered':
      // Settled otherwise, the events that come with it say what has become of it.
      return isAgain ? reenter(solved, 'cancel', at) : solved;
    case 'amend_unanswered':
      // The amendment stays open: what leaves tells whether it was made.
      return isAgain ? reenter(solved, 'amend', at) : enter(solved, 'hand_over', at);
    case 'deliver_unanswered':
      return isAgain ? reenter(solved, 'deliver', at) : solved;
    case 'void_refused':
    case 'void_unanswered':
      return isAgain ? reenter(solved, 'void', at) : ended(solved);
  }
}

function askAgain(order: Order, id: string, at: string): Order {
  const refund = order.refunds[id];
  if (!refund) return order;
  const entries = order.entries + 1;
  return {
    ...order,
    entries,
    refunds: {
      ...order.refunds,
      [id]: { ...refund, status: 'asked', since: at, entry: entries, again: true },
    },
  };
}
