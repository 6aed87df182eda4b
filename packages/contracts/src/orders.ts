import { z } from 'zod';
import {
  AmendmentId,
  CustomerId,
  OrderId,
  Quantity,
  RefundId,
  ShortLine,
  Sku,
  StockLine,
  Timestamp,
  text,
} from './common.ts';
import { Money, UnitPrice } from './money.ts';
import { PaymentToken } from './payments.ts';

// What clients send: an unknown field is a mistake.

export const NewOrder = z
  .strictObject({
    customer_id: CustomerId.optional(),
    lines: z
      .array(
        z.strictObject({
          sku: Sku,
          quantity: Quantity,
          unit_price: UnitPrice.meta({
            description: 'The price the customer saw; a changed one is refused.',
          }),
        }),
      )
      .min(1)
      .max(500),
    payment_token: PaymentToken.default('tok_ok'),
  })
  .meta({ id: 'NewOrder' });
export type NewOrder = z.infer<typeof NewOrder>;
/** As a client may write it. */
export type NewOrderInput = z.input<typeof NewOrder>;

export const CancelOrder = z.strictObject({ reason: text(200).optional() }).meta({ id: 'CancelOrder' });
export type CancelOrder = z.infer<typeof CancelOrder>;

export const Amendment = z
  .strictObject({
    lines: z
      .array(z.strictObject({ sku: Sku, quantity: z.int().min(0).max(100_000) }))
      .min(1)
      .max(500)
      .meta({ description: 'Lines to change, each to a smaller number of pieces; 0 takes a line off.' }),
    reason: text(200).optional(),
  })
  .meta({ id: 'Amendment' });
export type Amendment = z.infer<typeof Amendment>;

export const NewRefund = z
  .strictObject({
    lines: z
      .array(z.strictObject({ sku: Sku, quantity: Quantity }))
      .min(1)
      .max(500)
      .optional()
      .meta({ description: 'Pieces to pay back; without it all that is not paid back yet.' }),
    restock: z
      .boolean()
      .default(false)
      .meta({ description: 'The pieces have come back: they are on hand again.' }),
    reason: text(200),
  })
  .meta({ id: 'NewRefund' });
export type NewRefund = z.infer<typeof NewRefund>;

/** What the shop cannot settle itself. */
export const CheckoutProblem = z
  .enum([
    'capture_refused',
    'void_refused',
    'refund_refused',
    'cancel_unanswered',
    'amend_unanswered',
    'capture_unanswered',
    'void_unanswered',
    'refund_unanswered',
    'deliver_unanswered',
  ])
  .meta({
    id: 'CheckoutProblem',
    description: '`refused`: somebody has said no; `unanswered`: nobody has said anything for too long.',
  });
export type CheckoutProblem = z.infer<typeof CheckoutProblem>;

export const Settlement = z
  .strictObject({
    problem: CheckoutProblem.optional().meta({
      description: 'The one that is meant, as several can be open; without it the oldest.',
    }),
    refund_id: RefundId.optional().meta({ description: 'The refund that the problem is about.' }),
    resolution: z.enum(['try_again', 'done_elsewhere', 'written_off']).meta({
      description:
        '`try_again` asks once more; `done_elsewhere`: a person has seen to it in another way; `written_off`: nothing more will be done. Where nobody has answered, these two come after `try_again` only.',
    }),
    note: text(500),
  })
  .meta({ id: 'Settlement', description: 'What a person has decided where the shop could not.' });
export type Settlement = z.infer<typeof Settlement>;

// What clients get.

export const OrderStatus = z
  .enum(['placed', 'confirmed', 'shipped', 'delivered', 'rejected', 'cancelled', 'lost'])
  .meta({
    id: 'OrderStatus',
    description:
      '`placed` until stock and money are held; `confirmed` until it is handed over and paid, then `shipped`; `cancelled` also when an answer has not come in time; `lost`: it left and will not arrive. The last four are final.',
  });
export type OrderStatus = z.infer<typeof OrderStatus>;

/** What an order waits for, of somebody who answers by a message. */
export const AwaitedStep = z
  .enum(['reserve', 'authorise', 'hand_over', 'cancel', 'amend', 'capture', 'deliver', 'void', 'refund'])
  .meta({ id: 'AwaitedStep' });
export type AwaitedStep = z.infer<typeof AwaitedStep>;

/** What an order waits for. */
export const CheckoutStep = z.enum([...AwaitedStep.options, 'person']).meta({ id: 'CheckoutStep' });
export type CheckoutStep = z.infer<typeof CheckoutStep>;

export const Progress = z
  .object({
    step: CheckoutStep,
    since: Timestamp,
    waits_for: z.string().meta({ description: 'In words.' }),
    problem: z.string().optional().meta({
      description:
        'Of the step `person`: what the shop cannot settle itself. See the settlement of an order.',
    }),
    problem_code: CheckoutProblem.optional(),
    refund_id: RefundId.optional().meta({ description: 'The refund that the problem is about.' }),
  })
  .meta({ id: 'Progress' });
export type Progress = z.infer<typeof Progress>;

export const OrderLine = z
  .object({
    sku: Sku,
    quantity: Quantity,
    unit_price: Money,
    line_total: Money,
    refunded: z.int().min(0).optional().meta({ description: 'Pieces paid back; absent: none.' }),
    restocked: z
      .int()
      .min(0)
      .optional()
      .meta({ description: 'Pieces of those that came back; absent: none.' }),
  })
  .meta({ id: 'OrderLine' });
export type OrderLine = z.infer<typeof OrderLine>;

export const RejectionReason = z.enum(['out_of_stock', 'payment_declined']).meta({ id: 'RejectionReason' });

export const Order = z
  .object({
    id: OrderId,
    status: OrderStatus,
    customer_id: CustomerId.optional(),
    lines: z.array(OrderLine),
    total: Money,
    placed_at: Timestamp,
    updated_at: Timestamp,
    rejection: z.object({ reason: RejectionReason, lines: z.array(ShortLine) }).optional(),
    cancellation: z.object({ reason: z.string().optional() }).optional(),
    /** Absent: nothing is awaited any more. */
    progress: Progress.optional(),
    paid: Money.optional().meta({ description: 'Taken from the customer; absent: nothing.' }),
    refunded: Money.optional().meta({ description: 'Given back of it; absent: nothing.' }),
  })
  .meta({ id: 'Order' });
export type Order = z.infer<typeof Order>;

/** What the gateway answers for one order: the order joined with product names, as far as products answered. */
export const OrderView = Order.extend({
  lines: z.array(OrderLine.extend({ name: z.string().optional() })),
  missing: z
    .array(z.enum(['product_names']))
    .optional()
    .meta({ description: 'The parts that could not be fetched in time.' }),
}).meta({ id: 'OrderView' });
export type OrderView = z.infer<typeof OrderView>;

export const HistoryEntry = z
  .object({
    version: z.int().min(1),
    type: z.string(),
    at: Timestamp,
    actor: z.string(),
    command: z.string().optional().meta({ description: 'What was asked for.' }),
    request_id: z.string().optional(),
    caused_by: z.string().optional().meta({ description: 'The id of the message that led to it.' }),
    trace_id: z.string().optional(),
    details: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'HistoryEntry', description: 'One thing that happened to an order.' });
export type HistoryEntry = z.infer<typeof HistoryEntry>;

export const Dashboard = z
  .object({
    open_orders: z.int().min(0).meta({ description: 'Placed, confirmed or on their way.' }),
    attention: z.int().min(0).meta({ description: 'Orders that need a person.' }),
    placed_orders: z.int().min(0),
    units_shipped: z.int().min(0),
    takings: Money,
    refunded: Money,
    pending_events: z
      .int()
      .min(0)
      .meta({ description: 'What has happened and is not in these figures yet; 0: they are up to date.' }),
  })
  .meta({ id: 'Dashboard', description: 'The figures of all orders, all of one moment.' });
export type Dashboard = z.infer<typeof Dashboard>;

// What orders sends to itself. Nobody else reads it, but what one version of orders has sent the next may have to handle.

export const CheckoutStepOverdue = z.object({ order_id: OrderId, step: AwaitedStep, entry: z.int() }).meta({
  id: 'CheckoutStepOverdue',
  description:
    'See to the order if it is still in this step, and has not entered it anew: `entry` counts the steps that it has entered.',
});
export type CheckoutStepOverdue = z.infer<typeof CheckoutStepOverdue>;

/** As the release before CheckoutStepOverdue sent it; some are still waiting for their time when that is replaced. */
export const CancelOverdueOrder = z.object({ order_id: OrderId }).meta({
  id: 'CancelOverdueOrder',
  description: 'Cancel the order if its stock is still not set aside. Nobody sends it any more.',
});
export type CancelOverdueOrder = z.infer<typeof CancelOverdueOrder>;

// Facts that orders publishes. Readers ignore fields that they do not know.

export const OrderPlaced = z
  .object({
    order_id: OrderId,
    customer_id: CustomerId.optional(),
    lines: z.array(z.object({ sku: Sku, quantity: Quantity, unit_price: Money })).min(1),
    total: Money,
    placed_at: Timestamp,
  })
  .meta({ id: 'OrderPlaced', description: 'A customer ordered; stock is not yet set aside.' });
export type OrderPlaced = z.infer<typeof OrderPlaced>;

export const OrderConfirmed = z
  .object({ order_id: OrderId, confirmed_at: Timestamp })
  .meta({ id: 'OrderConfirmed', description: 'Stock is set aside and the money is held for the order.' });
export type OrderConfirmed = z.infer<typeof OrderConfirmed>;

export const OrderRejected = z
  .object({
    order_id: OrderId,
    reason: RejectionReason,
    lines: z.array(ShortLine),
    rejected_at: Timestamp,
  })
  .meta({
    id: 'OrderRejected',
    description: 'The order cannot be met: for want of the lines named, or of money; then there are none.',
  });
export type OrderRejected = z.infer<typeof OrderRejected>;

export const OrderCancelled = z
  .object({ order_id: OrderId, reason: z.string(), cancelled_at: Timestamp })
  .meta({ id: 'OrderCancelled', description: 'The order is off; its stock goes back.' });
export type OrderCancelled = z.infer<typeof OrderCancelled>;

export const OrderAmended = z
  .object({
    order_id: OrderId,
    amendment_id: AmendmentId,
    lines: z.array(z.object({ sku: Sku, quantity: Quantity, unit_price: Money })).min(1),
    total: Money,
    amended_at: Timestamp,
  })
  .meta({ id: 'OrderAmended', description: 'The order is for these lines now, and no others.' });
export type OrderAmended = z.infer<typeof OrderAmended>;

export const OrderShipped = z
  .object({ order_id: OrderId, paid: Money, lines: z.array(StockLine), shipped_at: Timestamp })
  .meta({ id: 'OrderShipped', description: 'The order has left and is paid.' });
export type OrderShipped = z.infer<typeof OrderShipped>;

export const OrderDelivered = z
  .object({ order_id: OrderId, delivered_at: Timestamp })
  .meta({ id: 'OrderDelivered', description: 'The customer has the order.' });
export type OrderDelivered = z.infer<typeof OrderDelivered>;

export const OrderLost = z.object({ order_id: OrderId, lost_at: Timestamp }).meta({
  id: 'OrderLost',
  description: 'The order has left and will not arrive; what was paid is given back.',
});
export type OrderLost = z.infer<typeof OrderLost>;

export const OrderRefunded = z
  .object({ order_id: OrderId, refund_id: RefundId, amount: Money, refunded_at: Timestamp })
  .meta({ id: 'OrderRefunded', description: 'Money was given back to the customer.' });
export type OrderRefunded = z.infer<typeof OrderRefunded>;
