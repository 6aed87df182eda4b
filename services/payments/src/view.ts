import { gbp } from '@sidecart/contracts/money';
import type { Payment } from '@sidecart/contracts/payments';
import type { FullPayment, OperationRow } from './store.ts';

export function toPayment({ payment, operations }: FullPayment): Payment {
  const { id, orderId, status, authorised, captured, refunded } = payment;
  if (status === 'none') throw new Error(`Payment ${id} was stored before anything was decided`);
  return {
    id,
    order_id: orderId,
    status,
    authorised: gbp(authorised),
    captured: gbp(captured),
    refunded: gbp(refunded),
    operations: operations.map(toOperationView),
  };
}

function toOperationView(row: OperationRow): Payment['operations'][number] {
  const { kind, refundId, amount, state, reason, attempts, requestedAt, settledAt } = row;
  return {
    kind,
    ...(refundId !== null && { refund_id: refundId }),
    amount: gbp(amount),
    state,
    ...(reason !== null && { reason }),
    attempts,
    requested_at: requestedAt.toISOString(),
    ...(settledAt !== null && { settled_at: settledAt.toISOString() }),
  };
}
