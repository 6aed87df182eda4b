import type { Catalog } from '@sidecart/contracts/catalog';
import { gbp } from '@sidecart/contracts/money';
import type { Transaction } from '@sidecart/kit/db';
import type { Outbox } from '@sidecart/messaging/outbox';
import type { PaymentEvent } from './payment.ts';
import type { PaymentOf } from './store.ts';

type Fact = Parameters<Outbox<Catalog>['publish']>[1];

/** Writes what the world is told about an order's money, in the transaction of the change itself. */
export async function publishEvents(
  tx: Transaction,
  outbox: Outbox<Catalog>,
  payment: PaymentOf,
  events: readonly PaymentEvent[],
  at: string,
): Promise<void> {
  await outbox.publish(tx, ...events.flatMap((event) => factsOf(payment, event, at)));
}

/** What is asked of the provider is nobody's business until it has answered. */
function factsOf({ paymentId, orderId }: PaymentOf, event: PaymentEvent, at: string): Fact[] {
  const base = { order_id: orderId, payment_id: paymentId };
  switch (event.type) {
    case 'OperationAsked':
    case 'VoidPostponed':
      return [];
    case 'PaymentAuthorised':
      return [{ type: event.type, data: { ...base, amount: gbp(event.amount), authorised_at: at } }];
    case 'PaymentDeclined':
      return [{ type: event.type, data: { ...base, reason: event.reason, declined_at: at } }];
    case 'PaymentCaptured':
      return [{ type: event.type, data: { ...base, amount: gbp(event.amount), captured_at: at } }];
    case 'PaymentVoided':
      return [{ type: event.type, data: { ...base, voided_at: at } }];
    case 'PaymentRefunded': {
      const { refundId: refund_id, amount } = event;
      return [{ type: event.type, data: { ...base, refund_id, amount: gbp(amount), refunded_at: at } }];
    }
    case 'CaptureRefused':
    case 'VoidRefused':
      return [{ type: event.type, data: { ...base, reason: event.reason, refused_at: at } }];
    case 'RefundRefused': {
      const { refundId: refund_id = '' } = event.operation;
      return [{ type: event.type, data: { ...base, refund_id, reason: event.reason, refused_at: at } }];
    }
  }
}
