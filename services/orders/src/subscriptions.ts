import { type Catalog, catalog } from '@sidecart/contracts/catalog';
import { StockRejected, StockReserved } from '@sidecart/contracts/inventory';
import { CancelOverdueOrder } from '@sidecart/contracts/orders';
import type { Transaction } from '@sidecart/kit/db';
import { type Handler, on } from '@sidecart/messaging/handler';
import type { Outbox } from '@sidecart/messaging/outbox';
import { handle } from './commands.ts';
import type { OrderCommand } from './order.ts';

/** Inventory's answers. Its other facts (what was received, released, committed) change no order. */
export function subscriptions(outbox: Outbox<Catalog>, clock: () => Date) {
  const at = () => clock().toISOString();
  const inventory: Record<string, Handler> = {
    StockReserved: on(StockReserved.pick({ order_id: true }), (tx, { data }) =>
      command(tx, outbox, data.order_id, { type: 'ConfirmOrder', at: at() }),
    ),
    StockRejected: on(StockRejected, (tx, { data }) =>
      command(tx, outbox, data.order_id, { type: 'RejectOrder', short: data.lines, at: at() }),
    ),
  };
  return { [catalog.StockReserved.topic]: { kind: 'fact' as const, handlers: inventory } };
}

/**
 * What orders tells itself, by type. In the order of their key: a second message about an order, should there be one some day,
 * must not be handled before the first.
 */
export function messagesToItself(outbox: Outbox<Catalog>, clock: () => Date): Record<string, Handler> {
  return {
    CancelOverdueOrder: on(
      CancelOverdueOrder,
      (tx, { data }) =>
        command(tx, outbox, data.order_id, { type: 'CancelOverdueOrder', at: clock().toISOString() }),
      { ordered: true },
    ),
  };
}

async function command(
  tx: Transaction,
  outbox: Outbox<Catalog>,
  orderId: string,
  command: OrderCommand,
): Promise<void> {
  await handle(tx, outbox, orderId, command);
}
