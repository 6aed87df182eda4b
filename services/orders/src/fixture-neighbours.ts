import type { StockLine } from '@sidecart/contracts/common';
import { gbp, type Money } from '@sidecart/contracts/money';
import type { Answer } from './order-answers.ts';

// What an order has to do with, as small as they can be and true to their contracts: each remembers what it was asked, does it once
// however often and in whatever order it is asked, and answers. None of them says what cannot be.

/** A command or fact as the bag has it. */
export interface Sent {
  type: string;
  // biome-ignore lint/suspicious/noExplicitAny: the data of any message; each taker knows its own
  data: any;
}

/** What the one who answers does not know: the order's own time and ids. */
export type Said = {
  [T in Answer['type']]: Omit<Extract<Answer, { type: T }>, 'at' | 'newRefundId'>;
}[Answer['type']];

export type Say = (answer: Said) => void;

type Pieces = Map<string, number>;

export interface Inventory {
  take(message: Sent): void;
  /** By SKU: what is free, and what is with the order. */
  onHand: Pieces;
  held: Pieces;
  /** What is with the order is set aside and not yet the order's. */
  isReserved(): boolean;
}

export interface Payments {
  take(message: Sent): void;
  /** The provider answers one of the questions. False: there is none. */
  provider(pick: number, outcome: 'done' | 'refused'): boolean;
  book(): { captured: number; refunded: number };
  /** Money is held, or will be. */
  isHeld(): boolean;
}

export interface Shipping {
  take(message: Sent): void;
  handOver(): void;
  /** A person sees to it that it does not leave. */
  stop(): void;
  arrive(how: 'delivered' | 'lost'): void;
  /** What has left; nothing: none has. */
  left(): readonly StockLine[];
}

/** The three of them, who answer by `say`. */
export type Neighbours = (
  onHand: Pieces,
  say: Say,
) => { inventory: Inventory; payments: Payments; shipping: Shipping };

export const fakeNeighbours: Neighbours = (onHand, say) => ({
  inventory: fakeInventory(onHand, say),
  payments: fakePayments(say),
  shipping: fakeShipping(say),
});

/** Sets stock aside: all lines or none. */
function fakeInventory(onHand: Pieces, say: Say): Inventory {
  let status: 'none' | 'rejected' | 'reserved' | 'committed' | 'released' = 'none';
  const held: Pieces = new Map();
  const parts = new Map<string, readonly StockLine[]>();

  function putBack(lines: readonly StockLine[]): void {
    for (const { sku, quantity } of lines) {
      const left = held.get(sku) ?? 0;
      if (quantity > left) throw new Error(`${quantity} of ${sku} are released, and ${left} are left`);
      held.set(sku, left - quantity);
      onHand.set(sku, (onHand.get(sku) ?? 0) + quantity);
    }
  }

  function reserve(lines: readonly StockLine[]): void {
    if (status !== 'none') return;
    const short = lines
      .map(({ sku, quantity }) => ({ sku, requested: quantity, available: onHand.get(sku) ?? 0 }))
      .filter(({ requested, available }) => available < requested);
    status = short.length > 0 ? 'rejected' : 'reserved';
    if (short.length > 0) {
      say({ type: 'NoteStockRejected', short });
      return;
    }
    for (const { sku, quantity } of lines) {
      onHand.set(sku, (onHand.get(sku) ?? 0) - quantity);
      held.set(sku, quantity);
    }
    for (const part of parts.values()) putBack(part);
    say({ type: 'NoteStockReserved' });
  }

  function release(part: { id: string; lines: readonly StockLine[] } | undefined): void {
    if (!part) {
      putBack([...held].map(([sku, quantity]) => ({ sku, quantity })));
      if (status !== 'rejected') status = 'released';
      return;
    }
    if (parts.has(part.id)) return;
    parts.set(part.id, part.lines);
    if (status === 'reserved' || status === 'committed') putBack(part.lines);
  }

  return {
    take({ type, data }: Sent): void {
      if (type === 'ReserveStock') reserve(data.lines);
      if (type === 'ReleaseStock') release(data.part);
      if (type !== 'OrderConfirmed') return;
      if (status === 'none' || status === 'rejected') throw new Error('Confirmed without a reservation');
      if (status === 'reserved') status = 'committed';
    },
    onHand,
    held,
    isReserved: () => status === 'reserved',
  };
}

type OperationKind = 'authorise' | 'capture' | 'void' | 'refund';

/** Holds, takes and gives back money, each once; what it asks the provider for is done when the provider says so, or refused. */
function fakePayments(say: Say): Payments {
  let status:
    | 'none'
    | 'authorising'
    | 'authorised'
    | 'declined'
    | 'capturing'
    | 'captured'
    | 'voiding'
    | 'voided' = 'none';
  let voidPostponed = false;
  const book = { authorised: 0, captured: 0, refunded: 0 };
  const pending: { kind: OperationKind; amount: number; refundId: string }[] = [];
  const refunds = new Set<string>();

  function ask(kind: OperationKind, amount = 0, refundId = ''): void {
    pending.push({ kind, amount, refundId });
  }

  function askVoid(): void {
    status = 'voiding';
    voidPostponed = false;
    ask('void');
  }

  function authorise(amount: Money): void {
    if (status !== 'none') return;
    status = 'authorising';
    ask('authorise', amount.amount);
  }

  function capture({ amount }: Money): void {
    if (status === 'none' || status === 'authorising') throw new Error('Captured before it was authorised');
    if (status === 'capturing' || status === 'captured') return;
    if (status !== 'authorised' || amount > book.authorised)
      say({ type: 'NoteCaptureRefused', reason: status });
    else {
      status = 'capturing';
      ask('capture', amount);
    }
  }

  function letGo(): void {
    if (status === 'none' || status === 'declined') {
      status = 'voided';
      say({ type: 'NotePaymentVoided' });
    } else if (status === 'authorising' || status === 'capturing') voidPostponed = true;
    else if (status === 'authorised') askVoid();
    else if (status === 'captured') say({ type: 'NoteVoidRefused', reason: 'captured' });
  }

  function refund(refundId: string, { amount }: Money): void {
    if (refunds.has(refundId)) return;
    refunds.add(refundId);
    const underWay = pending.reduce((sum, op) => sum + (op.kind === 'refund' ? op.amount : 0), 0);
    if (amount > book.captured - book.refunded - underWay)
      say({ type: 'NoteRefundRefused', refundId, reason: 'exceeds_captured' });
    else ask('refund', amount, refundId);
  }

  function done({ kind, amount, refundId }: (typeof pending)[0]): void {
    const money = { paymentId: 'pay_1', amount: gbp(amount) };
    if (kind === 'authorise') {
      status = 'authorised';
      book.authorised = amount;
      say({ type: 'NotePaymentAuthorised', ...money });
      if (voidPostponed) askVoid();
    } else if (kind === 'capture') {
      status = 'captured';
      book.captured += amount;
      say({ type: 'NotePaymentCaptured', ...money });
    } else if (kind === 'void') {
      status = 'voided';
      say({ type: 'NotePaymentVoided' });
    } else {
      book.refunded += amount;
      say({ type: 'NotePaymentRefunded', refundId, amount: gbp(amount) });
    }
  }

  function refused({ kind, refundId }: (typeof pending)[0]): void {
    const reason = 'refused';
    if (kind === 'authorise') {
      status = 'declined';
      say({ type: 'NotePaymentDeclined', reason });
      if (voidPostponed) say({ type: 'NotePaymentVoided' });
    } else if (kind === 'refund') say({ type: 'NoteRefundRefused', refundId, reason });
    else {
      status = 'authorised';
      say({ type: kind === 'capture' ? 'NoteCaptureRefused' : 'NoteVoidRefused', reason });
    }
  }

  return {
    take({ type, data }: Sent): void {
      if (type === 'AuthorisePayment') authorise(data.amount);
      if (type === 'CapturePayment') capture(data.amount);
      if (type === 'VoidPayment') letGo();
      if (type === 'RefundPayment') refund(data.refund_id, data.amount);
    },
    provider(pick, outcome) {
      const [operation] = pending.splice(pick % Math.max(1, pending.length), 1);
      if (operation) (outcome === 'done' ? done : refused)(operation);
      return operation !== undefined;
    },
    book: () => book,
    isHeld: () => ['authorising', 'authorised', 'capturing', 'voiding'].includes(status),
  };
}

/** Packs and hands over; what has left cannot be called back. */
function fakeShipping(say: Say): Shipping {
  let status: 'none' | 'preparing' | 'handed over' | 'delivered' | 'lost' | 'cancelled' = 'none';
  let lines: readonly StockLine[] = [];
  const amendments = new Set<string>();

  const shipping: Shipping = {
    take({ type, data }: Sent): void {
      const mayChange = status === 'none' || status === 'preparing';
      if (type === 'CreateShipment' && status === 'none') {
        status = 'preparing';
        if (amendments.size === 0) lines = data.lines;
      }
      if (type === 'AmendShipment' && mayChange && !amendments.has(data.amendment_id)) {
        amendments.add(data.amendment_id);
        lines = data.lines;
        say({ type: 'NoteShipmentAmended', amendmentId: data.amendment_id });
      }
      if (type === 'CancelShipment' && mayChange) {
        status = 'cancelled';
        say({ type: 'NoteShipmentCancelled' });
      }
    },
    handOver(): void {
      if (status !== 'preparing') return;
      status = 'handed over';
      say({ type: 'NoteShipmentHandedOver', shipmentId: 'shp_1', lines, carrier: 'post' });
    },
    arrive(how: 'delivered' | 'lost'): void {
      if (status !== 'handed over') return;
      status = how;
      say(
        how === 'lost' ? { type: 'NoteShipmentLost', reason: 'fell off' } : { type: 'NoteShipmentDelivered' },
      );
    },
    stop: () => shipping.take({ type: 'CancelShipment', data: {} }),
    left: () => (['handed over', 'delivered', 'lost'].includes(status) ? lines : []),
  };
  return shipping;
}
