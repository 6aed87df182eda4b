import { gbp } from '@sidecart/contracts/money';
import type { OrderCommand, OrderEvent } from './order-events.ts';
import type { OrderLine } from './order-lines.ts';

// What has happened to an order, for the tests of its rules: each history is all that leads to where an order is.

export const AT = '2026-03-14T09:26:53.589Z';
export const LATER = '2026-03-14T09:27:00.000Z';

export const newLine = (sku: string, quantity: number, amount: number) => ({
  sku,
  quantity,
  unitPrice: gbp(amount),
});
export const orderLine = (
  sku: string,
  quantity: number,
  amount: number,
  counts: Partial<OrderLine> = {},
): OrderLine => ({
  ...newLine(sku, quantity, amount),
  refunded: 0,
  settled: 0,
  restocked: 0,
  ...counts,
});

export const NEW_LINES = [newLine('HEART', 3, 255), newLine('LANTERN', 2, 1000)];
export const LINES = [orderLine('HEART', 3, 255), orderLine('LANTERN', 2, 1000)];
export const PIECES = LINES.map(({ sku, quantity }) => ({ sku, quantity }));
/** One heart in place of three. */
export const LESS = [orderLine('HEART', 1, 255), orderLine('LANTERN', 2, 1000)];
export const LESS_PIECES = LESS.map(({ sku, quantity }) => ({ sku, quantity }));
export const SHORT = [{ sku: 'HEART', requested: 3, available: 1 }];
export const TOTAL = gbp(2765);

const happened = <T extends OrderEvent['type']>(
  event: Omit<Extract<OrderEvent, { type: T }>, 'at'> & { type: T },
): OrderEvent => ({ ...event, at: AT }) as unknown as OrderEvent;

export const event = {
  placed: happened({
    type: 'OrderPlaced',
    orderId: 'ord_1',
    actor: 'anonymous',
    customerId: '17850',
    lines: NEW_LINES,
    total: TOTAL,
    paymentToken: 'tok_ok',
  }),
  held: happened({ type: 'StockHeld' }),
  confirmed: happened({ type: 'OrderConfirmed', paymentId: 'pay_1', authorised: TOTAL }),
  outOfStock: happened({ type: 'OrderRejected', reason: 'out_of_stock', short: SHORT }),
  declined: happened({ type: 'OrderRejected', reason: 'payment_declined', short: [], detail: 'no money' }),
  cancelRequested: happened({ type: 'CancellationRequested', reason: 'wrong size', cause: 'customer' }),
  cancelRefused: happened({ type: 'CancellationRefused' }),
  cancelled: happened({ type: 'OrderCancelled', reason: 'wrong size', cause: 'customer' }),
  released: happened({ type: 'PaymentReleased' }),
  amendRequested: happened({
    type: 'AmendmentRequested',
    amendmentId: 'amd_1',
    lines: LESS,
    reason: 'too many',
  }),
  amended: happened({
    type: 'OrderAmended',
    amendmentId: 'amd_1',
    lines: LESS,
    total: gbp(2255),
    released: [{ sku: 'HEART', quantity: 2 }],
  }),
  handedOver: happened({ type: 'OrderHandedOver', shipmentId: 'shp_1', carrier: 'post', tracking: 'RM1' }),
  shipped: happened({ type: 'OrderShipped', paymentId: 'pay_1', paid: TOTAL }),
  delivered: happened({ type: 'OrderDelivered' }),
  lost: happened({ type: 'OrderLost', reason: 'fell off' }),
  refundRequested: happened({
    type: 'RefundRequested',
    refundId: 'rfd_1',
    amount: gbp(510),
    lines: [{ sku: 'HEART', quantity: 2 }],
    restock: true,
    reason: 'torn',
  }),
  refunded: happened({ type: 'OrderRefunded', refundId: 'rfd_1', amount: gbp(510) }),
  refundRefused: happened({ type: 'RefundRefused', refundId: 'rfd_1', reason: 'card closed' }),
  lostRefund: happened({
    type: 'RefundRequested',
    refundId: 'rfd_lost',
    amount: TOTAL,
    lines: PIECES,
    restock: false,
    reason: 'lost on its way',
  }),
};

export const needed = (
  problem: Extract<OrderEvent, { type: 'PersonNeeded' }>['problem'],
  refundId?: string,
): OrderEvent => ({ type: 'PersonNeeded', problem, refundId, detail: 'no', at: AT });

const placed = [event.placed];
const held = [...placed, event.held];
const confirmed = [...held, event.confirmed];
const handedOver = [...confirmed, event.handedOver];
const shipped = [...handedOver, event.shipped];
const voiding = [...held, event.cancelled];

/** By where the order is then. */
export const history = {
  placed,
  held,
  confirmed,
  amending: [...confirmed, event.amendRequested],
  cancelling: [...confirmed, event.cancelRequested],
  'handed over': handedOver,
  shipped,
  delivered: [...shipped, event.delivered],
  lost: [...shipped, event.lost, event.lostRefund],
  'out of stock': [...placed, event.outOfStock],
  declined: [...held, event.declined],
  cancelled: [...placed, event.cancelled],
  voiding,
  released: [...voiding, event.released],
  /** As the release before payments left it. */
  'confirmed before': [event.placed, { type: 'OrderConfirmed', at: AT } as OrderEvent],
};
export type Where = keyof typeof history;

/** Every command that may come to an order at any time, as it comes by itself. */
export const command = {
  cancel: { type: 'CancelOrder', reason: 'wrong size', at: LATER },
  amend: {
    type: 'AmendOrder',
    amendmentId: 'amd_1',
    changes: [{ sku: 'HEART', quantity: 1 }],
    reason: 'too many',
    at: LATER,
  },
  refund: {
    type: 'RefundOrder',
    refundId: 'rfd_1',
    lines: [{ sku: 'HEART', quantity: 2 }],
    restock: true,
    reason: 'torn',
    at: LATER,
  },
  settle: { type: 'SettleOrder', resolution: 'try_again', note: 'seen to', newRefundId: 'rfd_2', at: LATER },
  stockReserved: { type: 'NoteStockReserved', at: LATER },
  stockRejected: { type: 'NoteStockRejected', short: SHORT, at: LATER },
  authorised: { type: 'NotePaymentAuthorised', paymentId: 'pay_1', amount: TOTAL, at: LATER },
  declined: { type: 'NotePaymentDeclined', reason: 'no money', at: LATER },
  voided: { type: 'NotePaymentVoided', at: LATER },
  voidRefused: { type: 'NoteVoidRefused', reason: 'too late', at: LATER },
  shipmentAmended: { type: 'NoteShipmentAmended', amendmentId: 'amd_1', at: LATER },
  shipmentCancelled: { type: 'NoteShipmentCancelled', at: LATER },
  handedOver: {
    type: 'NoteShipmentHandedOver',
    shipmentId: 'shp_1',
    lines: PIECES,
    carrier: 'post',
    tracking: 'RM1',
    at: LATER,
  },
  captured: {
    type: 'NotePaymentCaptured',
    paymentId: 'pay_1',
    amount: TOTAL,
    newRefundId: 'rfd_lost',
    at: LATER,
  },
  captureRefused: { type: 'NoteCaptureRefused', reason: 'expired', at: LATER },
  delivered: { type: 'NoteShipmentDelivered', at: LATER },
  lost: { type: 'NoteShipmentLost', reason: 'fell off', newRefundId: 'rfd_lost', at: LATER },
  refunded: { type: 'NotePaymentRefunded', refundId: 'rfd_1', amount: gbp(510), at: LATER },
  refundRefused: { type: 'NoteRefundRefused', refundId: 'rfd_1', reason: 'card closed', at: LATER },
} as const satisfies Record<string, OrderCommand>;
