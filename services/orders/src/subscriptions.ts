import { type Catalog, catalog } from '@sidecart/contracts/catalog';
import { StockRejected, StockReserved } from '@sidecart/contracts/inventory';
import type { Transaction } from '@sidecart/kit/db';
import { DomainError } from '@sidecart/kit/domain-error';
import { type Handler, on, PermanentError } from '@sidecart/messaging/consumer';
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

/** A rule that says no to a message says so for ever: the two services no longer agree, and somebody has to look. */
async function command(
  tx: Transaction,
  outbox: Outbox<Catalog>,
  orderId: string,
  command: OrderCommand,
): Promise<void> {
  try {
    await handle(tx, outbox, orderId, command);
  } catch (err) {
    if (!(err instanceof DomainError)) throw err;
    throw new PermanentError(`${command.type} of ${orderId}: ${err.code} ${JSON.stringify(err.data)}`);
  }
}
