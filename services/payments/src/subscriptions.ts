import { type Catalog, catalog } from '@sidecart/contracts/catalog';
import { AuthorisePayment, CapturePayment, RefundPayment, VoidPayment } from '@sidecart/contracts/payments';
import type { Transaction } from '@sidecart/kit/db';
import { type Handler, on } from '@sidecart/messaging/handler';
import type { Outbox } from '@sidecart/messaging/outbox';
import { handle } from './commands.ts';
import type { PaymentCommand } from './payment.ts';

/** What payments is asked to do. */
export function subscriptions(outbox: Outbox<Catalog>, clock: () => Date) {
  const command = async (tx: Transaction, orderId: string, command: PaymentCommand): Promise<void> => {
    await handle(tx, { outbox, clock }, orderId, command);
  };
  const commands: Record<string, Handler> = {
    AuthorisePayment: on(AuthorisePayment, (tx, { data: { order_id, amount, token } }) =>
      command(tx, order_id, { type: 'Authorise', amount: amount.amount, token }),
    ),
    CapturePayment: on(CapturePayment, (tx, { data: { order_id, amount } }) =>
      command(tx, order_id, { type: 'Capture', amount: amount.amount }),
    ),
    VoidPayment: on(VoidPayment.pick({ order_id: true }), (tx, { data: { order_id } }) =>
      command(tx, order_id, { type: 'Void' }),
    ),
    RefundPayment: on(RefundPayment, (tx, { data: { order_id, refund_id, amount } }) =>
      command(tx, order_id, { type: 'Refund', refundId: refund_id, amount: amount.amount }),
    ),
  };
  return { [catalog.AuthorisePayment.topic]: { kind: 'command' as const, handlers: commands } };
}
