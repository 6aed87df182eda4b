import type { ShortLine, StockLine } from '@sidecart/contracts/common';
import { addMoney, gbp, type Money } from '@sidecart/contracts/money';
import type { CancelCause, OrderEvent, Problem, Step } from './order-events.ts';
import { counted, type OrderLine } from './order-lines.ts';

/** What an order waits for; `entry` counts the steps entered, so that a deadline of an earlier one is known. */
export interface Waiting {
  step: Step;
  since: string;
  entry: number;
}

export interface Refund {
  amount: Money;
  lines: readonly StockLine[];
  restock: boolean;
  status: 'asked' | 'paid' | 'refused' | 'closed';
  since: string;
  entry: number;
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
  paymentHeld: boolean;
  /** No money is held any more, nor will be: the order is off. */
  paymentReleased?: true | undefined;
  captureAsked: boolean;
  paid: Money;
  refunded: Money;
  handedOver: boolean;
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

/** The state after an event. Never throws: an event has happened, whatever we think of it now. */
export function evolve(state: OrderState, event: OrderEvent): OrderState {
  if (event.type === 'OrderPlaced') return placed(event);
  if (state.status === 'none') return state;
  return { ...change(state, event), updatedAt: event.at };
}

/** A final state: nothing is awaited, no problem is open, no refund is under way. */
export function isFinal(state: OrderState): boolean {
  if (state.status === 'none') return false;
  const ended = ['delivered', 'rejected', 'cancelled', 'lost'].includes(state.status);
  const refunding = Object.values(state.refunds).some(({ status }) => status === 'asked');
  return ended && !state.waiting && state.problems.length === 0 && !refunding;
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
    paymentHeld: false,
    captureAsked: false,
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
      return { ...enter(order, 'hand_over', event.at), status: 'confirmed', paymentHeld: true };
    case 'OrderRejected':
      return { ...ended(order), status: 'rejected', rejection: { reason: event.reason, short: event.short } };
    case 'CancellationRequested':
      return {
        ...enter(order, 'cancel', event.at),
        cancellation: { ...reasonOf(event), cause: event.cause },
      };
    case 'CancellationRefused':
      return without(solve(order, 'cancel_unanswered'), 'cancellation');
    case 'OrderCancelled':
      return {
        ...without(ended(solve(order, 'cancel_unanswered', 'amend_unanswered')), 'amendment'),
        status: 'cancelled',
        cancellation: { ...reasonOf(event), cause: event.cause },
      };
    case 'PaymentReleased':
      return { ...solve(order, 'void_refused'), paymentHeld: false, paymentReleased: true };
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
      return { ...enter(order, 'capture', event.at), handedOver: true, captureAsked: true };
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
        refunded: addMoney([order.refunded, event.amount]),
      };
    case 'RefundRefused': {
      const pieces = order.refunds[event.refundId]?.lines ?? [];
      return {
        ...withRefund(solveRefund(order, event.refundId), event.refundId, 'refused'),
        lines: counted(order.lines, pieces, { refunded: -1, settled: 1 }),
      };
    }
    case 'PersonNeeded': {
      const { problem, refundId, detail, at } = event;
      return {
        ...order,
        problems: [
          ...order.problems,
          { problem, ...(refundId !== undefined && { refundId }), detail, since: at },
        ],
      };
    }
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

function ended(order: Order): Order {
  return without(order, 'waiting');
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
    paymentHeld: false,
  };
  return is.arrived ? { ...ended(is), status: is.arrived } : enter(is, 'deliver', at);
}

/** Word of the arrival can come before that of the payment; the order then still waits for that. */
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
  switch (problem) {
    case 'capture_refused':
    case 'capture_unanswered':
      return resolution === 'try_again' ? enter(solved, 'capture', at) : shipped(solved, order.paid, at);
    case 'refund_refused': {
      const pieces = order.refunds[refundId ?? '']?.lines ?? [];
      const again = resolution === 'try_again' ? { settled: -1 as const } : {};
      return { ...withRefund(solved, refundId ?? '', 'closed'), lines: counted(order.lines, pieces, again) };
    }
    case 'refund_unanswered':
      return resolution === 'try_again'
        ? askAgain(solved, refundId ?? '', at)
        : closeRefund(solved, refundId ?? '');
    case 'cancel_unanswered':
      return enter(solved, 'cancel', at);
    case 'amend_unanswered':
      return enter(solved, 'amend', at);
    case 'deliver_unanswered':
      return resolution === 'try_again' ? enter(solved, 'deliver', at) : solved;
    case 'void_refused':
      return solved;
  }
}

function askAgain(order: Order, id: string, at: string): Order {
  const refund = order.refunds[id];
  if (!refund) return order;
  const entries = order.entries + 1;
  return {
    ...order,
    entries,
    refunds: { ...order.refunds, [id]: { ...refund, status: 'asked', since: at, entry: entries } },
  };
}

/** A person has seen to it; should the provider have paid after all, its answer is still noted. */
function closeRefund(order: Order, id: string): Order {
  const pieces = order.refunds[id]?.lines ?? [];
  return {
    ...withRefund(order, id, 'closed'),
    lines: counted(order.lines, pieces, { refunded: -1, settled: 1 }),
  };
}
