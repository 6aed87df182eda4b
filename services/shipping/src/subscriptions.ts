import { type Catalog, catalog } from '@sidecart/contracts/catalog';
import { AmendShipment, CancelShipment, CreateShipment } from '@sidecart/contracts/shipping';
import { newId } from '@sidecart/kit/ids';
import { type Handler, on } from '@sidecart/messaging/handler';
import type { Outbox } from '@sidecart/messaging/outbox';
import { handle } from './commands.ts';

/** What orders asks for. */
export function subscriptions(outbox: Outbox<Catalog>, clock: () => Date) {
  const at = () => clock().toISOString();
  const commands: Record<string, Handler> = {
    CreateShipment: on(CreateShipment, (tx, { data: { order_id: orderId, lines } }) =>
      handle(tx, outbox, { type: 'Create', orderId, shipmentId: newId('shp'), lines, at: at() }),
    ),
    AmendShipment: on(AmendShipment, (tx, { data: { order_id: orderId, amendment_id, lines } }) =>
      handle(tx, outbox, { type: 'Amend', orderId, amendmentId: amendment_id, lines, at: at() }),
    ),
    CancelShipment: on(CancelShipment.pick({ order_id: true }), (tx, { data: { order_id: orderId } }) =>
      handle(tx, outbox, { type: 'Cancel', orderId, at: at() }),
    ),
  };
  return { [catalog.CreateShipment.topic]: { kind: 'command' as const, handlers: commands } };
}
