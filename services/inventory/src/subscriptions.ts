import { type Catalog, catalog } from '@sidecart/contracts/catalog';
import { ReleaseStock, ReserveStock } from '@sidecart/contracts/inventory';
import { OrderConfirmed } from '@sidecart/contracts/orders';
import { ProductCreated } from '@sidecart/contracts/products';
import type { Transaction } from '@sidecart/kit/db';
import { type Handler, on } from '@sidecart/messaging/handler';
import type { Outbox } from '@sidecart/messaging/outbox';
import { handle } from './commands.ts';
import type { ReservationCommand } from './reservation.ts';
import { learnProduct } from './store.ts';

/** What inventory is asked to do, and what it learns from others. */
export function subscriptions(outbox: Outbox<Catalog>) {
  const commands: Record<string, Handler> = {
    ReserveStock: on(ReserveStock, (tx, { data }) =>
      command(tx, outbox, { type: 'Reserve', orderId: data.order_id, lines: data.lines }),
    ),
    ReleaseStock: on(ReleaseStock.pick({ order_id: true, part: true }), (tx, { data }) =>
      command(tx, outbox, { type: 'Release', orderId: data.order_id, part: data.part }),
    ),
  };
  const orders: Record<string, Handler> = {
    OrderConfirmed: on(OrderConfirmed.pick({ order_id: true }), (tx, { data }) =>
      command(tx, outbox, { type: 'Commit', orderId: data.order_id }),
    ),
  };
  const products: Record<string, Handler> = {
    ProductCreated: on(ProductCreated.pick({ sku: true }), (tx, { data }) => learnProduct(tx, data.sku)),
  };
  return {
    [catalog.ReserveStock.topic]: { kind: 'command' as const, handlers: commands },
    [catalog.OrderConfirmed.topic]: { kind: 'fact' as const, handlers: orders },
    [catalog.ProductCreated.topic]: { kind: 'fact' as const, handlers: products },
  };
}

async function command(tx: Transaction, outbox: Outbox<Catalog>, command: ReservationCommand): Promise<void> {
  await handle(tx, outbox, command);
}
