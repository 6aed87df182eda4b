import { PAYMENT_SECRETS } from '@sidecart/contracts/payments';
import type { Aggregate } from '@sidecart/event-sourcing/aggregate';
import { decide } from './order.ts';
import type { OrderCommand, OrderEvent } from './order-events.ts';
import { evolve, initialState, isFinal, type OrderState } from './order-state.ts';

/** Orders as they are stored. A changed shape gets a new version here, an upcaster from the old one, and a stored sample of that. */
export const order: Aggregate<OrderState, OrderCommand, OrderEvent> = {
  type: 'order',
  // 2 knows what was asked for more than once; of an older state a person has to ask once more.
  state: { version: 2, upcast: { 1: (state) => state } },
  events: {
    OrderPlaced: { version: 1 },
    StockHeld: { version: 1 },
    OrderConfirmed: { version: 1 },
    OrderRejected: { version: 1 },
    CancellationRequested: { version: 1 },
    CancellationRefused: { version: 1 },
    OrderCancelled: { version: 1 },
    PaymentReleased: { version: 1 },
    AmendmentRequested: { version: 1 },
    AmendmentRefused: { version: 1 },
    OrderAmended: { version: 1 },
    OrderHandedOver: { version: 1 },
    OrderShipped: { version: 1 },
    OrderDelivered: { version: 1 },
    OrderLost: { version: 1 },
    RefundRequested: { version: 1 },
    OrderRefunded: { version: 1 },
    RefundRefused: { version: 1 },
    PersonNeeded: { version: 1 },
    OrderSettled: { version: 1 },
  },
  secret: PAYMENT_SECRETS,
  isClosed: isFinal,
  initialState,
  decide,
  evolve,
};
