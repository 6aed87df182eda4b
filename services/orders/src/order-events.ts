import type { ShortLine, StockLine } from '@sidecart/contracts/common';
import type { Money } from '@sidecart/contracts/money';
import type { OrderLine } from './order-lines.ts';

// What can be asked of an order, and what can happen to it.

/** What products says about one SKU now. A SKU without a quote is unknown. */
export interface Quote {
  sku: string;
  status: 'active' | 'retired';
  unitPrice: Money;
}

/** A line as the customer saw it: `unitPrice` is what the customer agreed to. */
export type NewLine = Pick<OrderLine, 'sku' | 'quantity' | 'unitPrice'>;

/** What an order waits for, of somebody else. */
export type Step =
  | 'reserve'
  | 'authorise'
  | 'hand_over'
  | 'cancel'
  | 'amend'
  | 'capture'
  | 'deliver'
  | 'void';

/** What the shop cannot settle itself. */
export type Problem =
  | 'capture_refused'
  | 'void_refused'
  | 'refund_refused'
  | 'cancel_unanswered'
  | 'amend_unanswered'
  | 'capture_unanswered'
  | 'void_unanswered'
  | 'deliver_unanswered'
  | 'refund_unanswered';

export type Resolution = 'try_again' | 'done_elsewhere' | 'written_off';
export type CancelCause = 'customer' | 'overdue';

export type OrderCommand =
  | {
      type: 'PlaceOrder';
      orderId: string;
      actor: string;
      customerId?: string | undefined;
      lines: readonly NewLine[];
      quotes: readonly Quote[];
      paymentToken: string;
      at: string;
    }
  | { type: 'CancelOrder'; reason?: string | undefined; at: string }
  | {
      type: 'AmendOrder';
      amendmentId: string;
      changes: readonly StockLine[];
      reason?: string | undefined;
      at: string;
    }
  | {
      type: 'RefundOrder';
      refundId: string;
      lines?: readonly StockLine[] | undefined;
      restock: boolean;
      reason: string;
      at: string;
    }
  | {
      type: 'SettleOrder';
      /** The one that is meant, as several can be open; without it the oldest. */
      problem?: Problem | undefined;
      refundId?: string | undefined;
      resolution: Resolution;
      note: string;
      newRefundId: string;
      at: string;
    }
  /** What others have answered. */
  | { type: 'NoteStockReserved'; at: string }
  | { type: 'NoteStockRejected'; short: readonly ShortLine[]; at: string }
  | { type: 'NotePaymentAuthorised'; paymentId: string; amount: Money; at: string }
  | { type: 'NotePaymentDeclined'; reason: string; at: string }
  | { type: 'NotePaymentVoided'; at: string }
  | { type: 'NoteVoidRefused'; reason: string; at: string }
  | { type: 'NoteShipmentAmended'; amendmentId: string; at: string }
  | { type: 'NoteShipmentCancelled'; at: string }
  | {
      type: 'NoteShipmentHandedOver';
      shipmentId: string;
      lines: readonly StockLine[];
      carrier: string;
      tracking?: string | undefined;
      at: string;
    }
  | { type: 'NotePaymentCaptured'; paymentId: string; amount: Money; newRefundId: string; at: string }
  | { type: 'NoteCaptureRefused'; reason: string; at: string }
  | { type: 'NoteShipmentDelivered'; at: string }
  | { type: 'NoteShipmentLost'; reason: string; newRefundId: string; at: string }
  | { type: 'NotePaymentRefunded'; refundId: string; amount: Money; at: string }
  | { type: 'NoteRefundRefused'; refundId: string; reason: string; at: string }
  /** The time for an answer is over. `entry` says which time the step was entered. */
  | { type: 'NoteStepOverdue'; step: Step | 'refund'; entry: number; at: string };

interface Happened {
  at: string;
}

export type OrderEvent =
  | (Happened & {
      type: 'OrderPlaced';
      orderId: string;
      actor: string;
      customerId?: string | undefined;
      lines: readonly NewLine[];
      total: Money;
      paymentToken: string;
    })
  | (Happened & { type: 'StockHeld' })
  /** Without a payment: by the release before there were any. Nobody was asked to hold money or to pack. */
  | (Happened & {
      type: 'OrderConfirmed';
      paymentId?: string | undefined;
      authorised?: Money | undefined;
    })
  | (Happened & {
      type: 'OrderRejected';
      reason: 'out_of_stock' | 'payment_declined';
      short: readonly ShortLine[];
      detail?: string | undefined;
    })
  | (Happened & { type: 'CancellationRequested'; reason?: string | undefined; cause: CancelCause })
  | (Happened & { type: 'CancellationRefused' })
  | (Happened & { type: 'OrderCancelled'; reason?: string | undefined; cause: CancelCause })
  | (Happened & { type: 'PaymentReleased' })
  | (Happened & {
      type: 'AmendmentRequested';
      amendmentId: string;
      lines: readonly OrderLine[];
      reason?: string | undefined;
    })
  | (Happened & { type: 'AmendmentRefused'; amendmentId: string })
  | (Happened & {
      type: 'OrderAmended';
      amendmentId: string;
      lines: readonly OrderLine[];
      total: Money;
      released: readonly StockLine[];
      reason?: string | undefined;
    })
  /** Without a shipment: shipping has not said so, but a person. */
  | (Happened & {
      type: 'OrderHandedOver';
      shipmentId?: string | undefined;
      carrier?: string | undefined;
      tracking?: string | undefined;
    })
  | (Happened & { type: 'OrderShipped'; paymentId?: string | undefined; paid: Money })
  | (Happened & { type: 'OrderDelivered' })
  | (Happened & { type: 'OrderLost'; reason: string })
  | (Happened & {
      type: 'RefundRequested';
      refundId: string;
      amount: Money;
      lines: readonly StockLine[];
      restock: boolean;
      reason: string;
    })
  | (Happened & { type: 'OrderRefunded'; refundId: string; amount: Money })
  | (Happened & { type: 'RefundRefused'; refundId: string; reason: string })
  | (Happened & { type: 'PersonNeeded'; problem: Problem; refundId?: string | undefined; detail: string })
  | (Happened & {
      type: 'OrderSettled';
      problem: Problem;
      refundId?: string | undefined;
      resolution: Resolution;
      note: string;
    });
