import { DomainError } from '@sidecart/kit/domain-error';
import type { OrderCommand, OrderEvent, Problem } from './order-events.ts';
import { piecesGone, refundOf, samePieces, totalOf } from './order-lines.ts';
import { hasLeft, isPacked, type Order } from './order-state.ts';

// What an order makes of the answers of the others, and of an answer that has not come. Each may come late, twice, and before another
// that was given earlier; what it means depends on what has happened to the order alone.

export type Answer = Extract<OrderCommand, { type: `Note${string}` }>;
type Of<T extends Answer['type']> = Extract<Answer, { type: T }>;

/**
 * What an answer makes happen. Throws DomainError for one that cannot be, by what the same service has said before: the two no longer
 * agree, and somebody has to look.
 */
export function decideAnswer(answer: Answer, order: Order): OrderEvent[] {
  switch (answer.type) {
    case 'NoteStockReserved':
      return stockReserved(answer, order);
    case 'NoteStockRejected':
      return stockRejected(answer, order);
    case 'NotePaymentAuthorised':
      return paymentAuthorised(answer, order);
    case 'NotePaymentDeclined':
      return paymentDeclined(answer, order);
    case 'NotePaymentVoided':
      return paymentVoided(answer, order);
    case 'NoteVoidRefused':
      return voidRefused(answer, order);
    case 'NoteShipmentAmended':
      return order.amendment?.id === answer.amendmentId ? amendment(order, answer.at) : [];
    case 'NoteShipmentCancelled':
      return shipmentCancelled(answer, order);
    case 'NoteShipmentHandedOver':
      return handedOver(answer, order);
    case 'NotePaymentCaptured':
      return captured(answer, order);
    case 'NoteCaptureRefused':
      return captureRefused(answer, order);
    case 'NoteShipmentDelivered':
    case 'NoteShipmentLost':
      return arrived(answer, order);
    case 'NotePaymentRefunded':
      return refunded(answer, order);
    case 'NoteRefundRefused':
      return refundRefused(answer, order);
    case 'NoteStepOverdue':
      return overdue(answer, order);
    default:
      throw new Error(`Not an answer to an order: ${JSON.stringify(answer satisfies never)}`);
  }
}

function stockReserved({ type, at }: Of<'NoteStockReserved'>, order: Order): OrderEvent[] {
  if (order.rejection?.reason === 'out_of_stock') throw contradiction(order, type);
  return order.waiting?.step === 'reserve' ? [{ type: 'StockHeld', at }] : [];
}

function stockRejected({ type, short, at }: Of<'NoteStockRejected'>, order: Order): OrderEvent[] {
  if (order.waiting?.step === 'reserve')
    return [{ type: 'OrderRejected', reason: 'out_of_stock', short, at }];
  const isOff = order.status === 'cancelled' && !order.paymentAsked;
  if (isOff || order.rejection?.reason === 'out_of_stock') return [];
  throw contradiction(order, type);
}

function paymentAuthorised(answer: Of<'NotePaymentAuthorised'>, order: Order): OrderEvent[] {
  const { type, paymentId, amount, at } = answer;
  if (order.rejection?.reason === 'payment_declined' || !order.paymentAsked) throw contradiction(order, type);
  return order.waiting?.step === 'authorise'
    ? [{ type: 'OrderConfirmed', paymentId, authorised: amount, at }]
    : [];
}

/** Of an order that is off: then no money is held for it either. */
function paymentDeclined({ type, reason, at }: Of<'NotePaymentDeclined'>, order: Order): OrderEvent[] {
  if (order.waiting?.step === 'authorise')
    return [{ type: 'OrderRejected', reason: 'payment_declined', short: [], detail: reason, at }];
  if (order.rejection?.reason === 'payment_declined') return [];
  return released(type, order, at);
}

function paymentVoided({ type, at }: Of<'NotePaymentVoided'>, order: Order): OrderEvent[] {
  return released(type, order, at);
}

function released(type: Answer['type'], order: Order, at: string): OrderEvent[] {
  if (order.status !== 'cancelled' || !order.paymentAsked) throw contradiction(order, type);
  return order.paymentReleased ? [] : [{ type: 'PaymentReleased', at }];
}

function voidRefused({ type, reason, at }: Of<'NoteVoidRefused'>, order: Order): OrderEvent[] {
  if (order.status !== 'cancelled' || !order.paymentAsked) throw contradiction(order, type);
  return order.waiting?.step === 'void' ? need(order, 'void_refused', reason, at) : [];
}

function shipmentCancelled({ type, at }: Of<'NoteShipmentCancelled'>, order: Order): OrderEvent[] {
  if (order.status === 'cancelled') return [];
  if (!order.cancellation || hasLeft(order)) throw contradiction(order, type);
  const { cause, reason } = order.cancellation;
  return [{ type: 'OrderCancelled', cause, reason, at }];
}

/** It has left: whatever was asked for meanwhile comes too late, except what it has left with. */
function handedOver(answer: Of<'NoteShipmentHandedOver'>, order: Order): OrderEvent[] {
  const { type, shipmentId, lines, carrier, tracking, at } = answer;
  const { amendment: asked } = order;
  if (order.handedOver) {
    // Where a person had to say that it has left, the money was taken for what the order was for.
    if (!samePieces(lines, order.lines)) throw contradiction(order, type);
    return [];
  }
  const isAmended = asked !== undefined && samePieces(lines, asked.lines);
  // The money for other pieces than left must not be taken.
  if (!isPacked(order) || !(isAmended || samePieces(lines, order.lines))) throw contradiction(order, type);
  return [
    ...(isAmended ? amendment(order, at) : []),
    ...(asked && !isAmended ? [{ type: 'AmendmentRefused' as const, amendmentId: asked.id, at }] : []),
    ...(order.cancellation ? [{ type: 'CancellationRefused' as const, at }] : []),
    { type: 'OrderHandedOver', shipmentId, carrier, tracking, at },
  ];
}

function amendment(order: Order, at: string): OrderEvent[] {
  if (!order.amendment) return [];
  const { id: amendmentId, lines } = order.amendment;
  const gone = piecesGone(order.lines, lines);
  return [{ type: 'OrderAmended', amendmentId, lines, total: totalOf(lines), released: gone, at }];
}

function captured(answer: Of<'NotePaymentCaptured'>, order: Order): OrderEvent[] {
  const { type, paymentId, amount, newRefundId, at } = answer;
  if (!order.handedOver) throw contradiction(order, type);
  if (order.paid.amount > 0) return [];
  const shipped: OrderEvent = { type: 'OrderShipped', paymentId, paid: amount, at };
  return order.arrived === 'lost' ? [shipped, ...refundAll(order, newRefundId, at)] : [shipped];
}

/** Only while it is waited for: what a person has settled stays settled. */
function captureRefused({ type, reason, at }: Of<'NoteCaptureRefused'>, order: Order): OrderEvent[] {
  if (!order.handedOver) throw contradiction(order, type);
  return order.waiting?.step === 'capture' ? need(order, 'capture_refused', reason, at) : [];
}

/** The first word of it counts. It may come before word of the hand-over, which will come as well. */
function arrived(answer: Of<'NoteShipmentDelivered'> | Of<'NoteShipmentLost'>, order: Order): OrderEvent[] {
  const { type, at } = answer;
  if (!order.handedOver && !isPacked(order)) throw contradiction(order, type);
  if (order.arrived) return [];
  if (type === 'NoteShipmentDelivered') return [{ type: 'OrderDelivered', at }];
  const lost: OrderEvent = { type: 'OrderLost', reason: answer.reason, at };
  return order.paid.amount > 0 ? [lost, ...refundAll(order, answer.newRefundId, at)] : [lost];
}

/** What is not paid back yet of an order that will not arrive. */
function refundAll(order: Order, refundId: string, at: string): OrderEvent[] {
  if (order.lines.every((line) => line.quantity === line.refunded + line.settled)) return [];
  const { lines, amount } = refundOf(order.lines, undefined);
  const reason = 'lost on its way';
  return [{ type: 'RefundRequested', refundId, amount, lines, restock: false, reason, at }];
}

function refunded({ type, refundId, amount, at }: Of<'NotePaymentRefunded'>, order: Order): OrderEvent[] {
  const refund = order.refunds[refundId];
  if (!refund) throw contradiction(order, type);
  return refund.status === 'paid' ? [] : [{ type: 'OrderRefunded', refundId, amount, at }];
}

function refundRefused({ type, refundId, reason, at }: Of<'NoteRefundRefused'>, order: Order): OrderEvent[] {
  const refund = order.refunds[refundId];
  if (!refund) throw contradiction(order, type);
  if (refund.status !== 'asked') return [];
  return [
    { type: 'RefundRefused', refundId, reason, at },
    { type: 'PersonNeeded', problem: 'refund_refused', refundId, detail: reason, at },
  ];
}

/** An answer that came in time has moved the order on: the deadline of a step that it has left changes nothing. */
function overdue({ step, entry, at }: Of<'NoteStepOverdue'>, order: Order): OrderEvent[] {
  if (step === 'refund') {
    const late = Object.entries(order.refunds).find(([, r]) => r.entry === entry && r.status === 'asked');
    return late ? need(order, 'refund_unanswered', 'payments has not answered', at, late[0]) : [];
  }
  if (order.waiting?.step !== step || order.waiting.entry !== entry) return [];
  switch (step) {
    case 'reserve':
      return [overdueCancellation('no stock was set aside in time', at)];
    case 'authorise':
      return [overdueCancellation('the payment was not authorised in time', at)];
    case 'hand_over': {
      const reason = 'it was not handed over in time';
      return [{ type: 'CancellationRequested', reason, cause: 'overdue', at }];
    }
    case 'cancel':
    case 'amend':
      return need(order, `${step}_unanswered`, 'shipping has not answered', at);
    case 'capture':
    case 'void':
      return isOpen(order, `${step}_refused`)
        ? []
        : need(order, `${step}_unanswered`, 'payments has not answered', at);
    case 'deliver':
      return need(order, 'deliver_unanswered', 'nobody has told of its arrival', at);
  }
}

function overdueCancellation(reason: string, at: string): OrderEvent {
  return { type: 'OrderCancelled', cause: 'overdue', reason, at };
}

/** Once for each problem that is open. */
function need(order: Order, problem: Problem, detail: string, at: string, refundId?: string): OrderEvent[] {
  return isOpen(order, problem, refundId) ? [] : [{ type: 'PersonNeeded', problem, refundId, detail, at }];
}

function isOpen(order: Order, problem: Problem, refundId?: string): boolean {
  return order.problems.some((open) => open.problem === problem && open.refundId === refundId);
}

function contradiction(order: Order, command: Answer['type']): DomainError {
  return new DomainError('conflict', 'order_already_decided', { status: order.status, command });
}
