import type { Catalog } from '@sidecart/contracts/catalog';
import type { Outbox } from '@sidecart/messaging/outbox';
import type { OrderEvent, Step } from './order-events.ts';
import { type OrderLine, stockLines, totalOf } from './order-lines.ts';
import type { Order, OrderState } from './order-state.ts';

// The checkout as a process manager: what is asked of the other services, and of orders itself for later, once something has happened
// to an order. Pure; it is written to the outbox in the transaction of the events, so an order and what it has set going never part.

type Fact = Parameters<Outbox<Catalog>['publish']>[1];
type Command = Parameters<Outbox<Catalog>['send']>[1];

/** How long an order waits in each step before it is seen to, in ms. */
export type StepTimeouts = Readonly<Record<Step | 'refund', number>>;

/** One time for all answers of payments and shipping to what is asked of them later. */
export function stepTimeouts({
  answer,
  ...own
}: Pick<StepTimeouts, 'reserve' | 'authorise' | 'hand_over' | 'deliver'> & { answer: number }): StepTimeouts {
  return { ...own, cancel: answer, amend: answer, capture: answer, void: answer, refund: answer };
}

/** What the world is told of an event; undefined: nothing. */
export function factOf(event: OrderEvent, order: Order): Fact | undefined {
  const { orderId: order_id, customerId } = order;
  switch (event.type) {
    case 'OrderPlaced':
      return {
        type: 'OrderPlaced',
        customerId,
        data: {
          order_id,
          customer_id: customerId,
          lines: pricedLines(event.lines),
          total: event.total,
          placed_at: event.at,
        },
      };
    case 'OrderConfirmed':
      return { type: 'OrderConfirmed', customerId, data: { order_id, confirmed_at: event.at } };
    case 'OrderRejected': {
      const { reason, short, at } = event;
      return {
        type: 'OrderRejected',
        customerId,
        data: { order_id, reason, lines: [...short], rejected_at: at },
      };
    }
    case 'OrderCancelled': {
      const data = { order_id, reason: event.reason ?? 'not given', cancelled_at: event.at };
      return { type: 'OrderCancelled', customerId, data };
    }
    case 'OrderAmended': {
      const { amendmentId: amendment_id, lines, total, at } = event;
      const data = { order_id, amendment_id, lines: pricedLines(lines), total, amended_at: at };
      return { type: 'OrderAmended', customerId, data };
    }
    case 'OrderShipped': {
      const data = { order_id, paid: event.paid, lines: stockLines(order.lines), shipped_at: event.at };
      return { type: 'OrderShipped', customerId, data };
    }
    case 'OrderDelivered':
      return { type: 'OrderDelivered', customerId, data: { order_id, delivered_at: event.at } };
    case 'OrderLost':
      return { type: 'OrderLost', customerId, data: { order_id, lost_at: event.at } };
    case 'OrderRefunded': {
      const { refundId: refund_id, amount, at } = event;
      return { type: 'OrderRefunded', customerId, data: { order_id, refund_id, amount, refunded_at: at } };
    }
    default:
      return undefined;
  }
}

/** What the other services are asked to do. `order` is as it is after all the events of the same command. */
export function commandsOf(event: OrderEvent, order: Order): Command[] {
  const { orderId: order_id, customerId } = order;
  switch (event.type) {
    case 'OrderPlaced':
      return [{ type: 'ReserveStock', customerId, data: { order_id, lines: stockLines(event.lines) } }];
    case 'StockHeld': {
      const data = { order_id, amount: totalOf(order.lines), token: order.paymentToken };
      return [{ type: 'AuthorisePayment', customerId, data }];
    }
    case 'OrderConfirmed':
      return [{ type: 'CreateShipment', customerId, data: { order_id, lines: stockLines(order.lines) } }];
    case 'OrderRejected':
      return event.reason === 'payment_declined' ? [release(order, 'the payment was declined')] : [];
    case 'CancellationRequested':
      return [cancelShipment(order)];
    case 'OrderCancelled':
      return [release(order, 'order cancelled'), ...(order.paymentAsked ? [voidPayment(order)] : [])];
    case 'AmendmentRequested':
      return [amendShipment(order)].flatMap((command) => command ?? []);
    case 'OrderAmended':
      return [release(order, 'order amended', { id: event.amendmentId, lines: event.released })];
    case 'OrderHandedOver':
      return [capture(order)];
    case 'RefundRequested': {
      const { refundId: refund_id, amount, restock, lines } = event;
      const refund: Command = { type: 'RefundPayment', customerId, data: { order_id, refund_id, amount } };
      return restock ? [refund, release(order, 'came back', { id: refund_id, lines })] : [refund];
    }
    case 'OrderSettled':
      if (event.resolution === 'try_again') return askAgain(event, order);
      // Somebody has stopped it by hand: whenever shipping hears of it, its books say so too.
      return event.problem === 'cancel_unanswered' && order.status === 'cancelled'
        ? [cancelShipment(order)]
        : [];
    default:
      return [];
  }
}

/** Has orders look at the order again when the time for an answer is over, so that none waits for ever, whoever is away. */
export function deadlinesOf(before: OrderState, order: Order, timeouts: StepTimeouts): Command[] {
  const entered = before.status === 'none' ? 0 : before.entries;
  const { orderId: order_id, customerId, waiting } = order;
  const deadline = (step: Step | 'refund', entry: number): Command => ({
    type: 'CheckoutStepOverdue',
    customerId,
    data: { order_id, step, entry },
    delayMs: timeouts[step],
  });
  const refunds = Object.values(order.refunds).filter(
    ({ entry, status }) => entry > entered && status === 'asked',
  );
  return [
    ...(waiting && waiting.entry > entered ? [deadline(waiting.step, waiting.entry)] : []),
    ...refunds.map(({ entry }) => deadline('refund', entry)),
  ];
}

/** The same question, to somebody who answers each only once: what was done already is not done twice. */
function askAgain(event: Extract<OrderEvent, { type: 'OrderSettled' }>, order: Order): Command[] {
  switch (event.problem) {
    case 'capture_refused':
    case 'capture_unanswered':
      return [capture(order)];
    case 'void_refused':
    case 'void_unanswered':
      return [voidPayment(order)];
    case 'cancel_unanswered':
      return [cancelShipment(order)];
    case 'amend_unanswered':
      return [amendShipment(order)].flatMap((command) => command ?? []);
    case 'refund_unanswered': {
      const { refundId: refund_id = '' } = event;
      const amount = order.refunds[refund_id]?.amount;
      const { orderId: order_id, customerId } = order;
      return amount ? [{ type: 'RefundPayment', customerId, data: { order_id, refund_id, amount } }] : [];
    }
    // A refused refund is asked for by a new one, and a delivery is only waited for.
    case 'refund_refused':
    case 'deliver_unanswered':
      return [];
  }
}

function release(
  { orderId: order_id, customerId }: Order,
  reason: string,
  part?: { id: string; lines: readonly { sku: string; quantity: number }[] },
): Command {
  const data = { order_id, reason, ...(part && { part: { id: part.id, lines: stockLines(part.lines) } }) };
  return { type: 'ReleaseStock', customerId, data };
}

function voidPayment({ orderId: order_id, customerId }: Order): Command {
  return { type: 'VoidPayment', customerId, data: { order_id, reason: 'order cancelled' } };
}

function capture({ orderId: order_id, customerId, lines }: Order): Command {
  return { type: 'CapturePayment', customerId, data: { order_id, amount: totalOf(lines) } };
}

function cancelShipment({ orderId: order_id, customerId, cancellation }: Order): Command {
  const reason = cancellation?.reason ?? 'order cancelled';
  return { type: 'CancelShipment', customerId, data: { order_id, reason } };
}

function amendShipment({ orderId: order_id, customerId, amendment }: Order): Command | undefined {
  if (!amendment) return undefined;
  const data = { order_id, amendment_id: amendment.id, lines: stockLines(amendment.lines) };
  return { type: 'AmendShipment', customerId, data };
}

function pricedLines(lines: readonly Pick<OrderLine, 'sku' | 'quantity' | 'unitPrice'>[]) {
  return lines.map(({ sku, quantity, unitPrice }) => ({ sku, quantity, unit_price: unitPrice }));
}
