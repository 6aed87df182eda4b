import type { Catalog } from '@sidecart/contracts/catalog';
import type { Transaction } from '@sidecart/kit/db';
import type { Outbox } from '@sidecart/messaging/outbox';
import type { ShipmentEvent } from './shipment.ts';

type Fact = Parameters<Outbox<Catalog>['publish']>[1];

/** Writes what the world is told about a shipment, in the transaction of the change itself. */
export function publishEvents(
  tx: Transaction,
  outbox: Outbox<Catalog>,
  events: readonly ShipmentEvent[],
): Promise<void> {
  return outbox.publish(tx, ...events.flatMap((event) => factOf(event) ?? []));
}

function factOf(event: ShipmentEvent): Fact | undefined {
  const { orderId: order_id, at } = event;
  switch (event.type) {
    case 'ShipmentCreated':
      return { type: 'ShipmentCreated', data: { order_id, shipment_id: event.shipmentId, created_at: at } };
    case 'ShipmentAmended': {
      const data = { order_id, amendment_id: event.amendmentId, lines: [...event.lines], amended_at: at };
      return { type: 'ShipmentAmended', data };
    }
    case 'ShipmentCancelled':
      return { type: 'ShipmentCancelled', data: { order_id, cancelled_at: at } };
    case 'ShipmentHandedOver': {
      const { shipmentId: shipment_id, carrier, tracking } = event;
      const data = { order_id, shipment_id, lines: [...event.lines], carrier, tracking, handed_over_at: at };
      return { type: 'ShipmentHandedOver', data };
    }
    case 'ShipmentDelivered':
      return {
        type: 'ShipmentDelivered',
        data: { order_id, shipment_id: event.shipmentId, delivered_at: at },
      };
    case 'ShipmentLost': {
      const data = { order_id, shipment_id: event.shipmentId, reason: event.reason, lost_at: at };
      return { type: 'ShipmentLost', data };
    }
    case 'PackagePacked':
      // Nobody's business but the warehouse's.
      return undefined;
  }
}
