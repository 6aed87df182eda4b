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
 * The answers of the other services, and of each only what is needed. What else they tell (goods that came in, a shipment that is being
 * packed) changes no order. They may come in any order: what an order makes of each depends on what has happened to it alone.
 */
export function subscriptions(deps: HandlingDeps, clock: () => Date) {
  const answer = answersTo(deps, clock);
  const inventory: Record<string, Handler> = {
    StockReserved: answer(StockReserved.pick({ order_id: true }), (_, at) => ({
      type: 'NoteStockReserved',
      at,
    })),
    StockRejected: answer(StockRejected.pick({ order_id: true, lines: true }), ({ lines }, at) => ({
      type: 'NoteStockRejected',
      short: lines,
      at,
    })),
  };
  const payments: Record<string, Handler> = {
    PaymentAuthorised: answer(
      PaymentAuthorised.pick({ order_id: true, payment_id: true, amount: true }),
      ({ payment_id: paymentId, amount }, at) => ({
        type: 'NotePaymentAuthorised',
        paymentId,
        amount,
        at,
      }),
    ),
    PaymentDeclined: answer(PaymentDeclined.pick({ order_id: true, reason: true }), ({ reason }, at) => ({
      type: 'NotePaymentDeclined',
      reason,
      at,
    })),
    PaymentCaptured: answer(
      PaymentCaptured.pick({ order_id: true, payment_id: true, amount: true }),
      ({ payment_id: paymentId, amount }, at) => ({
        type: 'NotePaymentCaptured',
        paymentId,
        amount,
        newRefundId: newId('rfd'),
        at,
      }),
    ),
    CaptureRefused: answer(CaptureRefused.pick({ order_id: true, reason: true }), ({ reason }, at) => ({
      type: 'NoteCaptureRefused',
      reason,
      at,
    })),
    PaymentVoided: answer(PaymentVoided.pick({ order_id: true }), (_, at) => ({
      type: 'NotePaymentVoided',
      at,
    })),
    VoidRefused: answer(VoidRefused.pick({ order_id: true, reason: true }), ({ reason }, at) => ({
      type: 'NoteVoidRefused',
      reason,
      at,
    })),
    PaymentRefunded: answer(
      PaymentRefunded.pick({ order_id: true, refund_id: true, amount: true }),
      ({ refund_id: refundId, amount }, at) => ({
        type: 'NotePaymentRefunded',
        refundId,
        amount,
        at,
      }),
    ),
    RefundRefused: answer(
      RefundRefused.pick({ order_id: true, refund_id: true, reason: true }),
      ({ refund_id: refundId, reason }, at) => ({
        type: 'NoteRefundRefused',
        refundId,
        reason,
        at,
      }),
    ),
  };
  const shipping: Record<string, Handler> = {
    ShipmentAmended: answer(
      ShipmentAmended.pick({ order_id: true, amendment_id: true }),
      ({ amendment_id: amendmentId }, at) => ({
        type: 'NoteShipmentAmended',
        amendmentId,
        at,
      }),
    ),
    ShipmentCancelled: answer(ShipmentCancelled.pick({ order_id: true }), (_, at) => ({
      type: 'NoteShipmentCancelled',
      at,
    })),
    ShipmentHandedOver: answer(
      ShipmentHandedOver.pick({
        order_id: true,
        shipment_id: true,
        lines: true,
        carrier: true,
        tracking: true,
      }),
      ({ shipment_id: shipmentId, lines, carrier, tracking }, at) => ({
        type: 'NoteShipmentHandedOver',
        shipmentId,
        lines,
        carrier,
        tracking,
        at,
      }),
    ),
    ShipmentDelivered: answer(ShipmentDelivered.pick({ order_id: true }), (_, at) => ({
      type: 'NoteShipmentDelivered',
      at,
    })),
    ShipmentLost: answer(ShipmentLost.pick({ order_id: true, reason: true }), ({ reason }, at) => ({
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
