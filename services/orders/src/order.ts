import { duplicateLines } from '@sidecart/contracts/common';
import { sameMoney } from '@sidecart/contracts/money';
import { DomainError, type FieldError, refuse } from '@sidecart/kit/domain-error';
import { decideAnswer } from './order-answers.ts';
import type { NewLine, OrderCommand, OrderEvent, Problem, Quote, Resolution } from './order-events.ts';
import { amended, piecesGone, refundOf, samePieces, totalOf } from './order-lines.ts';
import { existing, hasLeft, isPacked, type OpenProblem, type Order, type OrderState } from './order-state.ts';

// The rules of an order and nothing else: time, ids and prices come in as arguments, events come out. Here is what people ask of it;
// what the other services answer is in order-answers.ts, and what is asked of them once an event has happened in checkout.ts.

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
    default:
      return decideAnswer(command, order);
  }
}

function placeOrder(command: Command<'PlaceOrder'>, state: OrderState): OrderEvent[] {
  const { orderId, actor, customerId, lines, quotes, paymentToken, at } = command;
  if (state.status !== 'none') throw new DomainError('conflict', 'order_exists', { orderId });
  refuse('invalid', duplicateLines(lines));
  refuseStaleLines(lines, quotes);
  const total = totalOf(lines);
  return [{ type: 'OrderPlaced', orderId, actor, customerId, lines, total, paymentToken, at }];
}

/** What has not left can be called back; once it is being packed, shipping alone knows whether it has. */
function cancelOrder({ reason, at }: Command<'CancelOrder'>, order: Order): OrderEvent[] {
  if (order.status === 'cancelled') return [];
  if (order.status === 'rejected' || hasLeft(order))
    throw new DomainError('conflict', 'order_not_cancellable', { status: order.status });
  if (!isPacked(order)) return [{ type: 'OrderCancelled', reason, cause: 'customer', at }];
  return order.cancellation ? [] : [{ type: 'CancellationRequested', reason, cause: 'customer', at }];
}

function amendOrder(command: Command<'AmendOrder'>, order: Order): OrderEvent[] {
  const { amendmentId, changes, reason, at } = command;
  if (!['placed', 'confirmed'].includes(order.status) || hasLeft(order))
    throw new DomainError('conflict', 'order_not_amendable', { status: order.status });
  const lines = amended(order.lines, changes);
  if (order.amendment && samePieces(order.amendment.lines, lines)) return [];
  if (order.amendment || order.cancellation)
    throw new DomainError('conflict', 'order_busy', { step: order.waiting?.step });
  const released = piecesGone(order.lines, lines);
  if (released.length === 0) return [];
  if (isPacked(order)) return [{ type: 'AmendmentRequested', amendmentId, lines, reason, at }];
  return [{ type: 'OrderAmended', amendmentId, lines, total: totalOf(lines), released, reason, at }];
}

function refundOrder(command: Command<'RefundOrder'>, order: Order): OrderEvent[] {
  if (order.refunds[command.refundId]) return [];
  if (order.paid.amount === 0)
    throw new DomainError('conflict', 'order_not_refundable', { status: order.status });
  const { lines, amount } = refundOf(order.lines, command.lines);
  const { refundId, restock, reason, at } = command;
  return [{ type: 'RefundRequested', refundId, amount, lines, restock, reason, at }];
}

/** What a person may decide about each problem. */
const RESOLUTIONS: Record<Problem, readonly Resolution[]> = {
  capture_refused: ['try_again', 'done_elsewhere', 'written_off'],
  capture_unanswered: ['try_again', 'done_elsewhere', 'written_off'],
  void_unanswered: ['try_again', 'done_elsewhere', 'written_off'],
  void_refused: ['try_again', 'done_elsewhere', 'written_off'],
  refund_refused: ['try_again', 'done_elsewhere', 'written_off'],
  refund_unanswered: ['try_again', 'done_elsewhere', 'written_off'],
  cancel_unanswered: ['try_again', 'done_elsewhere', 'written_off'],
  amend_unanswered: ['try_again', 'written_off'],
  deliver_unanswered: ['try_again', 'done_elsewhere'],
};

/** Nobody has said no to these: most answers come after all, so they are asked for once more before a person decides without. */
const ASKED_TWICE: readonly Problem[] = [
  'capture_unanswered',
  'void_unanswered',
  'refund_unanswered',
  'cancel_unanswered',
  'amend_unanswered',
];

function settleOrder(command: Command<'SettleOrder'>, order: Order): OrderEvent[] {
  const open = openProblem(command, order);
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
  if (resolution !== 'try_again') refuseTooEarly(open, order);
  return [
    { type: 'OrderSettled', problem, refundId, resolution, note, at },
    ...settledBy(command, open, order),
  ];
}

/** The one that is named, so that a decision that comes twice does not settle the next one too. */
function openProblem({ problem, refundId }: Command<'SettleOrder'>, order: Order): OpenProblem | undefined {
  return order.problems.find(
    (open) =>
      (problem === undefined || open.problem === problem) &&
      (refundId === undefined || open.refundId === refundId),
  );
}

function refuseTooEarly({ problem, refundId }: OpenProblem, order: Order): void {
  const asked = refundId === undefined ? order.waiting : order.refunds[refundId];
  if (!ASKED_TWICE.includes(problem) || asked?.again) return;
  throw new DomainError('conflict', 'settlement_too_early', {}, [
    {
      pointer: '/resolution',
      code: 'settlement_too_early',
      detail: `Of ${problem} only try_again, until that is not answered in time either`,
      possible: ['try_again'],
    },
  ]);
}

function settledBy(
  command: Command<'SettleOrder'>,
  { problem, refundId }: OpenProblem,
  order: Order,
): OrderEvent[] {
  const { resolution, note, newRefundId, at } = command;
  if (problem === 'deliver_unanswered' && resolution === 'done_elsewhere')
    return [{ type: 'OrderDelivered', at }];
  if (problem === 'cancel_unanswered' && resolution !== 'try_again')
    return resolution === 'done_elsewhere' ? stopped(order, at) : notStopped(order, at);
  const refund = order.refunds[refundId ?? ''];
  if (problem === 'refund_refused' && resolution === 'try_again' && refund) {
    const { amount, lines } = refund;
    // What came back has been put on the shelf already.
    const again = { refundId: newRefundId, amount, lines, restock: false, reason: note, at };
    return [{ type: 'RefundRequested', ...again }];
  }
  return [];
}

/** Somebody has seen to it that it does not leave. */
function stopped(order: Order, at: string): OrderEvent[] {
  if (hasLeft(order)) throw new DomainError('conflict', 'order_not_cancellable', { status: order.status });
  const { cause = 'customer' as const, reason } = order.cancellation ?? {};
  return [{ type: 'OrderCancelled', cause, reason, at }];
}

/** It cannot be called back, so it counts as handed over, and its money is taken. */
function notStopped({ amendment, cancellation }: Order, at: string): OrderEvent[] {
  return [
    ...(amendment ? [{ type: 'AmendmentRefused' as const, amendmentId: amendment.id, at }] : []),
    ...(cancellation ? [{ type: 'CancellationRefused' as const, at }] : []),
    { type: 'OrderHandedOver', at },
  ];
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
