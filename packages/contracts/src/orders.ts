import { z } from 'zod';
import { CustomerId, OrderId, Quantity, ShortLine, Sku, Timestamp, text } from './common.ts';
import { Money, UnitPrice } from './money.ts';

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
  })
  .meta({ id: 'NewOrder' });
export type NewOrder = z.infer<typeof NewOrder>;

export const CancelOrder = z.strictObject({ reason: text(200).optional() }).meta({ id: 'CancelOrder' });
export type CancelOrder = z.infer<typeof CancelOrder>;

// What clients get.

export const OrderStatus = z.enum(['placed', 'confirmed', 'rejected', 'cancelled']).meta({
  id: 'OrderStatus',
  description: '`placed` until stock has answered; `cancelled` also when it has not in time.',
});
export type OrderStatus = z.infer<typeof OrderStatus>;

export const OrderLine = z
  .object({ sku: Sku, quantity: Quantity, unit_price: Money, line_total: Money })
  .meta({ id: 'OrderLine' });
export type OrderLine = z.infer<typeof OrderLine>;

export const RejectionReason = z.enum(['out_of_stock']).meta({ id: 'RejectionReason' });

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

// What orders sends to itself. Nobody else reads it, but what one version of orders has sent the next may have to handle.

export const CancelOverdueOrder = z.object({ order_id: OrderId }).meta({
  id: 'CancelOverdueOrder',
  description: 'Cancel the order if inventory has not answered by now.',
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
  .meta({ id: 'OrderConfirmed', description: 'All stock is set aside for the order.' });
export type OrderConfirmed = z.infer<typeof OrderConfirmed>;

export const OrderRejected = z
  .object({
    order_id: OrderId,
    reason: RejectionReason,
    lines: z.array(ShortLine),
    rejected_at: Timestamp,
  })
  .meta({ id: 'OrderRejected', description: 'The order cannot be met, for want of the lines named.' });
export type OrderRejected = z.infer<typeof OrderRejected>;

export const OrderCancelled = z
  .object({ order_id: OrderId, reason: z.string(), cancelled_at: Timestamp })
  .meta({ id: 'OrderCancelled', description: 'The order is off; its stock goes back.' });
export type OrderCancelled = z.infer<typeof OrderCancelled>;
