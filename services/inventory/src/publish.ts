import type { Catalog } from '@sidecart/contracts/catalog';
import type { Transaction } from '@sidecart/kit/db';
import type { Outbox } from '@sidecart/messaging/outbox';
import type { ReservationEvent } from './reservation.ts';

type Fact = Parameters<Outbox<Catalog>['publish']>[1];

/** Writes what the world is told about an order's stock, in the transaction of the change itself. */
export function publishEvents(
  tx: Transaction,
  outbox: Outbox<Catalog>,
  events: readonly ReservationEvent[],
): Promise<void> {
  return outbox.publish(tx, ...events.flatMap((event) => factOf(event) ?? []));
}

function factOf(event: ReservationEvent): Fact | undefined {
  const { orderId: order_id } = event;
  switch (event.type) {
    case 'StockRejected':
      return { type: 'StockRejected', data: { order_id, lines: [...event.short] } };
    case 'StockReserved':
      return { type: 'StockReserved', data: { order_id, lines: [...event.lines] } };
    case 'StockCommitted':
      return { type: 'StockCommitted', data: { order_id, lines: [...event.lines] } };
    case 'StockReleased':
      return { type: 'StockReleased', data: { order_id, lines: [...event.lines] } };
    case 'PartAwaited':
      // Nothing has moved yet; StockReleased is told when it does.
      return undefined;
  }
}
