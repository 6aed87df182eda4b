import { addMoney, sameMoney } from '@sidecart/contracts/money';
import { DomainError, type FieldError } from '@sidecart/kit/domain-error';
import type {
  CancelCause,
  NewLine,
  OrderCommand,
  OrderEvent,
  Problem,
  Quote,
  Resolution,
} from './order-events.ts';
import { amended, piecesGone, refundOf, refuseDuplicateLines, samePieces, totalOf } from './order-lines.ts';
import type { OpenProblem, Order, OrderState } from './order-state.ts';

// The rules of an order and nothing else: time, ids and prices come in as arguments, events come out. What is asked of the other
// services once an event has happened is in checkout.ts.

type Command<T extends OrderCommand['type']> = Extract<OrderCommand, { type: T }>;

/**
 * What a command makes happen to an order in this state. No events: the command changes nothing, as when it
 * arrives twice or too late. Throws DomainError when a rule forbids it.
 */
export function decide(command: OrderCommand, state: OrderState): OrderEvent[] {
  if (command.type === 'PlaceOrder') return placeOrder(command, state);
  const order = existing(state);
  switch (command.type) {
    case 'CancelOrder':
      return cancelOrder(command, order);
    case 'AmendOrder':
      return amendOrder(command, order);
    case 'RefundOrder':
      return refundOrder(command, order);
    case 'SettleOrder':
      return settleOrder(command, order);
    case 'NoteStockReserved':
      return stockReserved(command, order);
    case 'NoteStockRejected':
      return stockRejected(command, order);
    case 'NotePaymentAuthorised':
      return paymentAuthorised(command, order);
    case 'NotePaymentDeclined':
      return paymentDeclined(command, order);
    case 'NotePaymentVoided':
      return order.status === 'cancelled' && !order.paymentReleased
        ? [{ type: 'PaymentReleased', at: command.at }]
        : [];
    case 'NoteVoidRefused':
      return order.status === 'cancelled' ? need(order, 'void_refused', command.reason, command.at) : [];
    case 'NoteShipmentAmended':
      return order.amendment?.id === command.amendmentId ? amendment(order, command.at) : [];
    case 'NoteShipmentCancelled':
      return shipmentCancelled(command, order);
    case 'NoteShipmentHandedOver':
      return handedOver(command, order);
    case 'NotePaymentCaptured':
      return captured(command, order);
    case 'NoteCaptureRefused':
      return order.waiting?.step === 'capture'
        ? need(order, 'capture_refused', command.reason, command.at)
        : [];
    case 'NoteShipmentDelivered':
      requireHandedOver(command.type, order);
      return order.arrived ? [] : [{ type: 'OrderDelivered', at: command.at }];
    case 'NoteShipmentLost':
      return lost(command, order);
    case 'NotePaymentRefunded':
      return refunded(command, order);
    case 'NoteRefundRefused':
      return refundRefused(command, order);
    case 'NoteStepOverdue':
      return overdue(command, order);
    default:
      throw new Error(`Not a command of an order: ${JSON.stringify(command satisfies never)}`);
  }
}

function placeOrder(command: Command<'PlaceOrder'>, state: OrderState): OrderEvent[] {
  const { orderId, actor, customerId, lines, quotes, paymentToken, at } = command;
  if (state.status !== 'none') throw new DomainError('conflict', 'order_exists', { orderId });
  refuseDuplicateLines(lines);
  refuseStaleLines(lines, quotes);
  const total = totalOf(lines);
  return [{ type: 'OrderPlaced', orderId, actor, customerId, lines, total, paymentToken, at }];
}

/** What has not left can be called back; shipping alone knows whether it has. */
function cancelOrder({ reason, at }: Command<'CancelOrder'>, order: Order): OrderEvent[] {
  if (order.status === 'cancelled') return [];
  if (order.status === 'placed') return [cancelled('customer', reason, at)];
  if (order.status === 'rejected' || order.handedOver)
    throw new DomainError('conflict', 'order_not_cancellable', { status: order.status });
  if (order.cancellation) return [];
  return [{ type: 'CancellationRequested', reason, cause: 'customer', at }];
}

function amendOrder({ amendmentId, changes, at }: Command<'AmendOrder'>, order: Order): OrderEvent[] {
  if (!['placed', 'confirmed'].includes(order.status) || order.handedOver)
    throw new DomainError('conflict', 'order_not_amendable', { status: order.status });
  const lines = amended(order.lines, changes);
  const released = piecesGone(order.lines, lines);
  const isAsked = order.amendment && samePieces(order.amendment.lines, lines);
  if (released.length === 0 || isAsked) return [];
  if (order.status === 'placed')
    return [{ type: 'OrderAmended', amendmentId, lines, total: totalOf(lines), released, at }];
  if (order.waiting?.step !== 'hand_over')
    throw new DomainError('conflict', 'order_busy', { step: order.waiting?.step });
  return [{ type: 'AmendmentRequested', amendmentId, lines, at }];
}

function refundOrder(command: Command<'RefundOrder'>, order: Order): OrderEvent[] {
  if (order.refunds[command.refundId]) return [];
  if (order.paid.amount === 0)
    throw new DomainError('conflict', 'order_not_refundable', { status: order.status });
  const { lines, amount } = refundOf(order.lines, command.lines);
  const { refundId, restock, reason, at } = command;
  if (amount.amount > order.paid.amount - promised(order))
    throw new DomainError('conflict', 'refund_too_much', { paid: order.paid });
  return [{ type: 'RefundRequested', refundId, amount, lines, restock, reason, at }];
}

/** What was paid back, or will be unless the provider refuses. */
function promised({ refunds, refunded }: Order): number {
  const asked = Object.values(refunds).filter(({ status }) => status === 'asked');
  return refunded.amount + addMoney(asked.map(({ amount }) => amount)).amount;
}

/** What a person may decide about each problem. Who only waits for an answer can but ask again: it will come. */
const RESOLUTIONS: Record<Problem, readonly Resolution[]> = {
  capture_refused: ['try_again', 'done_elsewhere', 'written_off'],
  capture_unanswered: ['try_again'],
  void_refused: ['try_again', 'done_elsewhere', 'written_off'],
  refund_refused: ['try_again', 'done_elsewhere', 'written_off'],
  refund_unanswered: ['try_again'],
  cancel_unanswered: ['try_again'],
  amend_unanswered: ['try_again'],
  deliver_unanswered: ['try_again', 'done_elsewhere'],
};

function settleOrder(command: Command<'SettleOrder'>, order: Order): OrderEvent[] {
  const [open] = order.problems;
  if (!open) throw new DomainError('conflict', 'nothing_to_settle', { status: order.status });
  const { resolution, note, at } = command;
  const { problem, refundId } = open;
  if (!RESOLUTIONS[problem].includes(resolution))
    throw new DomainError('conflict', 'settlement_not_possible', {}, [
      {
        pointer: '/resolution',
        code: 'settlement_not_possible',
        detail: `Of ${problem} only ${RESOLUTIONS[problem].join(' or ')}`,
        possible: RESOLUTIONS[problem],
      },
    ]);
  return [
    { type: 'OrderSettled', problem, refundId, resolution, note, at },
    ...settledBy(command, open, order),
  ];
}

function settledBy(
  command: Command<'SettleOrder'>,
  { problem, refundId }: OpenProblem,
  order: Order,
): OrderEvent[] {
  const { resolution, newRefundId, at } = command;
  if (problem === 'deliver_unanswered' && resolution === 'done_elsewhere')
    return [{ type: 'OrderDelivered', at }];
  const refund = order.refunds[refundId ?? ''];
  if (problem === 'refund_refused' && resolution === 'try_again' && refund) {
    const { amount, lines } = refund;
    // What came back has been put on the shelf already.
    return [
      {
        type: 'RefundRequested',
        refundId: newRefundId,
        amount,
        lines,
        restock: false,
        reason: command.note,
        at,
      },
    ];
  }
  return [];
}

function stockReserved({ type, at }: Command<'NoteStockReserved'>, order: Order): OrderEvent[] {
  if (order.rejection?.reason === 'out_of_stock') throw contradiction(order, type);
  return order.waiting?.step === 'reserve' ? [{ type: 'StockHeld', at }] : [];
}

function stockRejected({ type, short, at }: Command<'NoteStockRejected'>, order: Order): OrderEvent[] {
  if (order.waiting?.step === 'reserve')
    return [{ type: 'OrderRejected', reason: 'out_of_stock', short, at }];
  if (order.status === 'cancelled' || order.rejection?.reason === 'out_of_stock') return [];
  throw contradiction(order, type);
}

function paymentAuthorised(
  { type, paymentId, amount, at }: Command<'NotePaymentAuthorised'>,
  order: Order,
): OrderEvent[] {
  if (order.rejection?.reason === 'payment_declined' || !order.paymentAsked) throw contradiction(order, type);
  return order.waiting?.step === 'authorise'
    ? [{ type: 'OrderConfirmed', paymentId, authorised: amount, at }]
    : [];
}

function paymentDeclined({ type, reason, at }: Command<'NotePaymentDeclined'>, order: Order): OrderEvent[] {
  if (order.waiting?.step === 'authorise')
    return [{ type: 'OrderRejected', reason: 'payment_declined', short: [], detail: reason, at }];
  if (order.status === 'cancelled' || order.rejection?.reason === 'payment_declined') return [];
  throw contradiction(order, type);
}

function shipmentCancelled({ type, at }: Command<'NoteShipmentCancelled'>, order: Order): OrderEvent[] {
  if (order.status === 'cancelled') return [];
  if (!order.cancellation || order.handedOver) throw contradiction(order, type);
  return [cancelled(order.cancellation.cause, order.cancellation.reason, at)];
}

/** It has left: whatever was asked for meanwhile comes too late, except what it has left with. */
function handedOver(command: Command<'NoteShipmentHandedOver'>, order: Order): OrderEvent[] {
  const { type, shipmentId, lines, carrier, tracking, at } = command;
  if (order.handedOver) return [];
  if (order.status !== 'confirmed') throw contradiction(order, type);
  const amendments: OrderEvent[] = !order.amendment
    ? []
    : samePieces(lines, order.amendment.lines)
      ? amendment(order, at)
      : [{ type: 'AmendmentRefused', amendmentId: order.amendment.id, at }];
  return [
    ...amendments,
    ...(order.cancellation ? [{ type: 'CancellationRefused' as const, at }] : []),
    { type: 'OrderHandedOver', shipmentId, carrier, tracking, at },
  ];
}

function amendment(order: Order, at: string): OrderEvent[] {
  if (!order.amendment) return [];
  const { id: amendmentId, lines } = order.amendment;
  const released = piecesGone(order.lines, lines);
  return [{ type: 'OrderAmended', amendmentId, lines, total: totalOf(lines), released, at }];
}

function captured(command: Command<'NotePaymentCaptured'>, order: Order): OrderEvent[] {
  const { type, paymentId, amount, newRefundId, at } = command;
  if (!order.captureAsked) throw contradiction(order, type);
  if (order.paid.amount > 0) return [];
  const shipped: OrderEvent = { type: 'OrderShipped', paymentId, paid: amount, at };
  return order.arrived === 'lost' ? [shipped, ...refundAll(order, newRefundId, at)] : [shipped];
}

function lost({ type, reason, newRefundId, at }: Command<'NoteShipmentLost'>, order: Order): OrderEvent[] {
  requireHandedOver(type, order);
  if (order.arrived) return [];
  const event: OrderEvent = { type: 'OrderLost', reason, at };
  return order.paid.amount > 0 ? [event, ...refundAll(order, newRefundId, at)] : [event];
}

/** What is not paid back yet of an order that will not arrive. */
function refundAll(order: Order, refundId: string, at: string): OrderEvent[] {
  if (order.lines.every((line) => line.quantity === line.refunded + line.settled)) return [];
  const { lines, amount } = refundOf(order.lines, undefined);
  return [
    { type: 'RefundRequested', refundId, amount, lines, restock: false, reason: 'lost on its way', at },
  ];
}

function refunded(
  { type, refundId, amount, at }: Command<'NotePaymentRefunded'>,
  order: Order,
): OrderEvent[] {
  const refund = order.refunds[refundId];
  if (!refund) throw contradiction(order, type);
  return refund.status === 'paid' ? [] : [{ type: 'OrderRefunded', refundId, amount, at }];
}

function refundRefused(
  { type, refundId, reason, at }: Command<'NoteRefundRefused'>,
  order: Order,
): OrderEvent[] {
  const refund = order.refunds[refundId];
  if (!refund) throw contradiction(order, type);
  if (refund.status !== 'asked') return [];
  return [
    { type: 'RefundRefused', refundId, reason, at },
    { type: 'PersonNeeded', problem: 'refund_refused', refundId, detail: reason, at },
  ];
}

/** An answer that came in time has moved the order on: the deadline of a step that it has left changes nothing. */
function overdue({ step, entry, at }: Command<'NoteStepOverdue'>, order: Order): OrderEvent[] {
  if (step === 'refund') {
    const late = Object.entries(order.refunds).find(([, r]) => r.entry === entry && r.status === 'asked');
    return late ? need(order, 'refund_unanswered', 'payments has not answered', at, late[0]) : [];
  }
  if (order.waiting?.step !== step || order.waiting.entry !== entry) return [];
  switch (step) {
    case 'reserve':
      return [cancelled('overdue', 'no stock was set aside in time', at)];
    case 'authorise':
      return [cancelled('overdue', 'the payment was not authorised in time', at)];
    case 'hand_over':
      return [
        { type: 'CancellationRequested', reason: 'it was not handed over in time', cause: 'overdue', at },
      ];
    case 'cancel':
    case 'amend':
      return need(order, `${step}_unanswered`, 'shipping has not answered', at);
    case 'capture':
      return order.problems.some(({ problem }) => problem === 'capture_refused')
        ? []
        : need(order, 'capture_unanswered', 'payments has not answered', at);
    case 'deliver':
      return need(order, 'deliver_unanswered', 'nobody has told of its arrival', at);
  }
}

/** Once for each problem that is open. */
function need(order: Order, problem: Problem, detail: string, at: string, refundId?: string): OrderEvent[] {
  const known = order.problems.some((open) => open.problem === problem && open.refundId === refundId);
  return known ? [] : [{ type: 'PersonNeeded', problem, refundId, detail, at }];
}

function cancelled(cause: CancelCause, reason: string | undefined, at: string): OrderEvent {
  return { type: 'OrderCancelled', cause, reason, at };
}

function existing(state: OrderState): Order {
  if (state.status === 'none') throw new DomainError('not-found', 'not_found', {});
  return state;
}

/** Another service says what cannot be, by what it has said before: the two no longer agree. */
function contradiction(order: Order, command: OrderCommand['type']): DomainError {
  return new DomainError('conflict', 'order_already_decided', { status: order.status, command });
}

function requireHandedOver(command: OrderCommand['type'], order: Order): void {
  if (!order.handedOver) throw contradiction(order, command);
}

/** One code for the whole order, the gravest first; the errors name each line with its own. */
const graveness = ['unknown_product', 'product_retired', 'price_changed'] as const;

function refuseStaleLines(lines: readonly NewLine[], quotes: readonly Quote[]): void {
  const bySku = new Map(quotes.map((quote) => [quote.sku, quote]));
  const errors = lines.flatMap((line, index) => lineFault(line, index, bySku.get(line.sku)) ?? []);
  const code = graveness.find((candidate) => errors.some((error) => error.code === candidate));
  if (code) throw new DomainError(code === 'price_changed' ? 'conflict' : 'refused', code, {}, errors);
}

function lineFault(line: NewLine, index: number, quote: Quote | undefined): FieldError | undefined {
  if (!quote)
    return {
      pointer: `/lines/${index}/sku`,
      code: 'unknown_product',
      detail: `There is no product ${line.sku}`,
    };
  if (quote.status === 'retired')
    return {
      pointer: `/lines/${index}/sku`,
      code: 'product_retired',
      detail: `${line.sku} is no longer for sale`,
    };
  if (sameMoney(quote.unitPrice, line.unitPrice)) return undefined;
  return {
    pointer: `/lines/${index}/unit_price`,
    code: 'price_changed',
    detail: `The price of ${line.sku} is not what the order says`,
    current: quote.unitPrice,
  };
}
