import { multiplyMoney } from '@sidecart/contracts/money';
import type { HistoryEntry, Order, OrderLine, Progress } from '@sidecart/contracts/orders';
import { PAYMENT_SECRETS } from '@sidecart/contracts/payments';
import type { RecordedEvent } from '@sidecart/event-sourcing/projection';
import { traceIdOf } from '@sidecart/kit/context';
import type { OrderEvent, Problem, Step } from './order-events.ts';
import { type OrderLine as Line, totalOf } from './order-lines.ts';
import type { OrderState, Order as State } from './order-state.ts';

/** What a list shows of an order: a page of whole orders could outgrow what a sidecar carries. */
export type OrderSummary = Omit<Order, 'lines' | 'rejection' | 'cancellation'>;

const WAITS_FOR: Record<Step, string> = {
  reserve: 'inventory to set the stock aside',
  authorise: 'payments to have the money held',
  hand_over: 'the packages to be handed to the carrier',
  cancel: 'shipping to say whether it can still be stopped',
  amend: 'shipping to say whether it can still be changed',
  capture: 'payments to take the money',
  deliver: 'the carrier to deliver',
  void: 'payments to let go of the money',
};

const PROBLEMS: Record<Problem, string> = {
  capture_refused: 'the order has left, and the provider refuses the money',
  void_refused: 'the order is off, and the provider keeps holding the money',
  refund_refused: 'the provider refuses to give money back',
  cancel_unanswered: 'shipping does not say whether it can be stopped',
  amend_unanswered: 'shipping does not say whether it can be changed',
  capture_unanswered: 'the order has left, and payments does not say whether it is paid',
  deliver_unanswered: 'nobody tells of its arrival',
  void_unanswered: 'the order is off, and payments does not say whether the money was let go',
  refund_unanswered: 'payments does not say whether the money was given back',
};

export function toOrder(state: OrderState): Order {
  if (state.status === 'none') throw new Error('An order that is not there cannot be shown');
  const { rejection, cancellation } = state;
  return {
    ...toSummary(state),
    lines: state.lines.map(toLine),
    ...(rejection && { rejection: { reason: rejection.reason, lines: [...rejection.short] } }),
    ...(state.status === 'cancelled' && {
      cancellation: cancellation?.reason === undefined ? {} : { reason: cancellation.reason },
    }),
  };
}

export function toSummary(state: State): OrderSummary {
  const progress = progressOf(state);
  return {
    id: state.orderId,
    status: state.status,
    ...(state.customerId !== undefined && { customer_id: state.customerId }),
    total: totalOf(state.lines),
    placed_at: state.placedAt,
    updated_at: state.updatedAt,
    ...(progress && { progress }),
    ...(state.paid.amount > 0 && { paid: state.paid }),
    ...(state.refunded.amount > 0 && { refunded: state.refunded }),
  };
}

/** What happened, by whom, when, why, and which request and trace it belongs to. What the customer pays with is nobody's business. */
export function toHistoryEntry({ version, at, meta, event }: RecordedEvent<OrderEvent>): HistoryEntry {
  const { type, at: _at, ...all } = event;
  const details = Object.fromEntries(Object.entries(all).filter(([name]) => !PAYMENT_SECRETS.includes(name)));
  return {
    version,
    type,
    at: at.toISOString(),
    actor: meta.actor,
    ...(meta.command !== undefined && { command: meta.command }),
    ...(meta.requestId !== undefined && { request_id: meta.requestId }),
    ...(meta.causationId !== undefined && { caused_by: meta.causationId }),
    ...(meta.traceparent !== undefined && { trace_id: traceIdOf(meta.traceparent) }),
    details,
  };
}

/** The gravest of what is going on: what needs a person, then what the order waits for, then money on its way back. */
function progressOf({ problems, waiting, refunds }: State): Progress | undefined {
  const [open] = problems;
  if (open) {
    const problem = `${PROBLEMS[open.problem]}: ${open.detail}`;
    return {
      step: 'person',
      since: open.since,
      waits_for: 'somebody to settle it',
      problem,
      problem_code: open.problem,
      ...(open.refundId !== undefined && { refund_id: open.refundId }),
    };
  }
  if (waiting) return { step: waiting.step, since: waiting.since, waits_for: WAITS_FOR[waiting.step] };
  const refund = Object.values(refunds).find(({ status }) => status === 'asked');
  return refund && { step: 'refund', since: refund.since, waits_for: 'payments to give the money back' };
}

function toLine({ sku, quantity, unitPrice, refunded, restocked }: Line): OrderLine {
  return {
    sku,
    quantity,
    unit_price: unitPrice,
    line_total: multiplyMoney(unitPrice, quantity),
    ...(refunded > 0 && { refunded }),
    ...(restocked > 0 && { restocked }),
  };
}
