import { type Money, multiplyMoney } from '@sidecart/contracts/money';
import type { Order, OrderLine } from '@sidecart/contracts/orders';
import type { OrderEvent } from './order.ts';
import type { OrderLineRow, OrderRow } from './store.ts';

/** What a list shows of an order: a page of whole orders could outgrow what a sidecar carries. */
export type OrderSummary = Omit<Order, 'lines' | 'rejection' | 'cancellation'>;

export function toOrder({ order, lines }: { order: OrderRow; lines: readonly OrderLineRow[] }): Order {
  return {
    ...toSummary(order),
    lines: lines.map(({ sku, quantity, unitPrice }) =>
      toLine(sku, quantity, { amount: unitPrice, currency: order.currency }),
    ),
    ...(order.shortLines && { rejection: { reason: 'out_of_stock', lines: [...order.shortLines] } }),
    ...(order.status === 'cancelled' && {
      cancellation: order.cancelReason === null ? {} : { reason: order.cancelReason },
    }),
  };
}

export function toSummary(order: OrderRow): OrderSummary {
  return {
    id: order.id,
    status: order.status,
    ...(order.customerId !== null && { customer_id: order.customerId }),
    total: { amount: order.totalAmount, currency: order.currency },
    placed_at: order.placedAt.toISOString(),
    updated_at: order.updatedAt.toISOString(),
  };
}

/** An order as its placement left it, without reading it back. */
export function placedOrder(events: readonly OrderEvent[]): Order {
  const placed = events.find((event) => event.type === 'OrderPlaced');
  if (!placed) throw new Error('Placing an order gave no OrderPlaced');
  return {
    id: placed.orderId,
    status: 'placed',
    ...(placed.customerId !== undefined && { customer_id: placed.customerId }),
    lines: placed.lines.map(({ sku, quantity, unitPrice }) => toLine(sku, quantity, unitPrice)),
    total: placed.total,
    placed_at: placed.at,
    updated_at: placed.at,
  };
}

function toLine(sku: string, quantity: number, unitPrice: Money): OrderLine {
  return { sku, quantity, unit_price: unitPrice, line_total: multiplyMoney(unitPrice, quantity) };
}
