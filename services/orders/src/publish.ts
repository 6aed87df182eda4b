import type { Catalog } from '@sidecart/contracts/catalog';
import type { Transaction } from '@sidecart/kit/db';
import type { Outbox } from '@sidecart/messaging/outbox';
import type { OrderEvent } from './order.ts';

type Fact = Parameters<Outbox<Catalog>['publish']>[1];
type Command = Parameters<Outbox<Catalog>['send']>[1];

/** Writes what the world is told, and what inventory is asked for, in the transaction of the change itself. */
export async function publishEvents(
  tx: Transaction,
  outbox: Outbox<Catalog>,
  events: readonly OrderEvent[],
): Promise<void> {
  await Promise.all([
    outbox.publish(tx, ...events.map(factOf)),
    outbox.send(tx, ...events.flatMap((event) => commandOf(event) ?? [])),
  ]);
}

/**
 * Has orders look at a new order again when the time for inventory's answer is over. Written with the order, so that none
 * waits for ever: also not when inventory is away, or lost the command for good.
 */
export function sendDeadline(
  tx: Transaction,
  outbox: Outbox<Catalog>,
  order: { orderId: string; customerId?: string | undefined },
  delayMs: number,
): Promise<void> {
  const { orderId: order_id, customerId } = order;
  return outbox.send(tx, { type: 'CancelOverdueOrder', customerId, data: { order_id }, delayMs });
}

function factOf(event: OrderEvent): Fact {
  const { orderId: order_id, customerId } = event;
  switch (event.type) {
    case 'OrderPlaced': {
      const lines = event.lines.map(({ sku, quantity, unitPrice }) => ({
        sku,
        quantity,
        unit_price: unitPrice,
      }));
      const data = { order_id, customer_id: customerId, lines, total: event.total, placed_at: event.at };
      return { type: 'OrderPlaced', customerId, data };
    }
    case 'OrderConfirmed':
      return { type: 'OrderConfirmed', customerId, data: { order_id, confirmed_at: event.at } };
    case 'OrderRejected': {
      const data = {
        order_id,
        reason: 'out_of_stock' as const,
        lines: [...event.short],
        rejected_at: event.at,
      };
      return { type: 'OrderRejected', customerId, data };
    }
    case 'OrderCancelled': {
      const data = { order_id, reason: event.reason ?? 'not given', cancelled_at: event.at };
      return { type: 'OrderCancelled', customerId, data };
    }
  }
}

function commandOf(event: OrderEvent): Command | undefined {
  const { orderId: order_id, customerId } = event;
  switch (event.type) {
    case 'OrderPlaced': {
      const lines = event.lines.map(({ sku, quantity }) => ({ sku, quantity }));
      return { type: 'ReserveStock', customerId, data: { order_id, lines } };
    }
    case 'OrderCancelled':
      return { type: 'ReleaseStock', customerId, data: { order_id, reason: 'order cancelled' } };
    case 'OrderConfirmed':
    case 'OrderRejected':
      return undefined;
  }
}
