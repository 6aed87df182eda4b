import { catalog } from '@sidecart/contracts/catalog';
import { StockRejected, StockReserved } from '@sidecart/contracts/inventory';
import { CancelOverdueOrder, CheckoutStepOverdue } from '@sidecart/contracts/orders';
import {
  CaptureRefused,
  PaymentAuthorised,
  PaymentCaptured,
  PaymentDeclined,
  PaymentRefunded,
  PaymentVoided,
  RefundRefused,
  VoidRefused,
} from '@sidecart/contracts/payments';
import {
  ShipmentAmended,
  ShipmentCancelled,
  ShipmentDelivered,
  ShipmentHandedOver,
  ShipmentLost,
} from '@sidecart/contracts/shipping';
import { newId } from '@sidecart/kit/ids';
import { type Handler, on } from '@sidecart/messaging/handler';
import type { z } from 'zod';
import { type HandlingDeps, handle } from './commands.ts';
import type { OrderCommand } from './order-events.ts';

type About = z.ZodType<{ order_id: string }>;

/**
 * The answers of the other services. What else they tell (goods that came in, a shipment that is being packed) changes no order. They
 * may come in any order: what an order makes of each depends on what has happened to it alone.
 */
export function subscriptions(deps: HandlingDeps, clock: () => Date) {
  const answer = answersTo(deps, clock);
  const inventory: Record<string, Handler> = {
    StockReserved: answer(StockReserved, (_, at) => ({ type: 'NoteStockReserved', at })),
    StockRejected: answer(StockRejected, ({ lines }, at) => ({
      type: 'NoteStockRejected',
      short: lines,
      at,
    })),
  };
  const payments: Record<string, Handler> = {
    PaymentAuthorised: answer(PaymentAuthorised, ({ payment_id: paymentId, amount }, at) => ({
      type: 'NotePaymentAuthorised',
      paymentId,
      amount,
      at,
    })),
    PaymentDeclined: answer(PaymentDeclined, ({ reason }, at) => ({
      type: 'NotePaymentDeclined',
      reason,
      at,
    })),
    PaymentCaptured: answer(PaymentCaptured, ({ payment_id: paymentId, amount }, at) => ({
      type: 'NotePaymentCaptured',
      paymentId,
      amount,
      newRefundId: newId('rfd'),
      at,
    })),
    CaptureRefused: answer(CaptureRefused, ({ reason }, at) => ({ type: 'NoteCaptureRefused', reason, at })),
    PaymentVoided: answer(PaymentVoided, (_, at) => ({ type: 'NotePaymentVoided', at })),
    VoidRefused: answer(VoidRefused, ({ reason }, at) => ({ type: 'NoteVoidRefused', reason, at })),
    PaymentRefunded: answer(PaymentRefunded, ({ refund_id: refundId, amount }, at) => ({
      type: 'NotePaymentRefunded',
      refundId,
      amount,
      at,
    })),
    RefundRefused: answer(RefundRefused, ({ refund_id: refundId, reason }, at) => ({
      type: 'NoteRefundRefused',
      refundId,
      reason,
      at,
    })),
  };
  const shipping: Record<string, Handler> = {
    ShipmentAmended: answer(ShipmentAmended, ({ amendment_id: amendmentId }, at) => ({
      type: 'NoteShipmentAmended',
      amendmentId,
      at,
    })),
    ShipmentCancelled: answer(ShipmentCancelled, (_, at) => ({ type: 'NoteShipmentCancelled', at })),
    ShipmentHandedOver: answer(
      ShipmentHandedOver,
      ({ shipment_id: shipmentId, lines, carrier, tracking }, at) => ({
        type: 'NoteShipmentHandedOver',
        shipmentId,
        lines,
        carrier,
        tracking,
        at,
      }),
    ),
    ShipmentDelivered: answer(ShipmentDelivered, (_, at) => ({ type: 'NoteShipmentDelivered', at })),
    ShipmentLost: answer(ShipmentLost, ({ reason }, at) => ({
      type: 'NoteShipmentLost',
      reason,
      newRefundId: newId('rfd'),
      at,
    })),
  };
  return {
    [catalog.StockReserved.topic]: { kind: 'fact' as const, handlers: inventory },
    [catalog.PaymentAuthorised.topic]: { kind: 'fact' as const, handlers: payments },
    [catalog.ShipmentCreated.topic]: { kind: 'fact' as const, handlers: shipping },
  };
}

/** What orders tells itself, by type. Deadlines know which step they are of, so they need no order among them. */
export function messagesToItself(deps: HandlingDeps, clock: () => Date): Record<string, Handler> {
  const answer = answersTo(deps, clock);
  return {
    CheckoutStepOverdue: answer(CheckoutStepOverdue, ({ step, entry }, at) => ({
      type: 'NoteStepOverdue',
      step,
      entry,
      at,
    })),
    // Of an order that the release before has placed: it waits for its stock, as every order does first.
    CancelOverdueOrder: answer(CancelOverdueOrder, (_, at) => ({
      type: 'NoteStepOverdue',
      step: 'reserve',
      entry: 1,
      at,
    })),
  };
}

function answersTo(deps: HandlingDeps, clock: () => Date) {
  return <S extends About>(schema: S, toCommand: (data: z.output<S>, at: string) => OrderCommand): Handler =>
    on(schema, async (tx, { data }) => {
      const at = clock().toISOString();
      await handle(tx, deps, (data as { order_id: string }).order_id, toCommand(data, at));
    });
}
