import type { Catalog } from '@sidecart/contracts/catalog';
import type { NewPackage, Shipment } from '@sidecart/contracts/shipping';
import { currentContext } from '@sidecart/kit/context';
import type { Database, Transaction } from '@sidecart/kit/db';
import { claimIdempotent, fingerprint } from '@sidecart/kit/idempotency';
import { newId } from '@sidecart/kit/ids';
import type { Outbox } from '@sidecart/messaging/outbox';
import { publishEvents } from './publish.ts';
import { decide, type OrdersCommand, type WarehouseCommand } from './shipment.ts';
import { requireShipment, type ShipmentRow, updateForOrder, updateShipment } from './store.ts';
import { toShipment } from './view.ts';

export interface ShippingDeps {
  database: Database;
  outbox: Outbox<Catalog>;
  clock: () => Date;
}

/** Packs one package, once per (actor, key). */
export function pack(
  { database: { db }, outbox, clock }: ShippingDeps,
  request: { shipmentId: string; key: string; body: NewPackage },
): Promise<{ shipment: Shipment; replayed: boolean }> {
  const { shipmentId, key, body } = request;
  const actor = currentContext()?.actor ?? 'anonymous';
  const packageId = newId('pkg');
  const at = clock().toISOString();
  return db.transaction(async (tx) => {
    const claim = { actor, key, fingerprint: fingerprint([shipmentId, body]), resource: packageId };
    const { claimed } = await claimIdempotent(tx, claim);
    if (!claimed) return { shipment: toShipment(await requireShipment(tx, shipmentId)), replayed: true };
    const { lines, weight_grams: weightGrams } = body;
    const command: WarehouseCommand = { type: 'Pack', packageId, weightGrams, lines, at };
    return { shipment: toShipment(await handleById(tx, outbox, shipmentId, command)), replayed: false };
  });
}

/** What else the warehouse does; each may be repeated, and changes nothing then. */
export async function act(
  { database: { db }, outbox }: ShippingDeps,
  shipmentId: string,
  command: Exclude<WarehouseCommand, { type: 'Pack' }>,
): Promise<Shipment> {
  return toShipment(await db.transaction((tx) => handleById(tx, outbox, shipmentId, command)));
}

/** Locks the row of the order, decides, stores and publishes, all in `tx`. */
export function handle(tx: Transaction, outbox: Outbox<Catalog>, command: OrdersCommand): Promise<void> {
  return updateForOrder(
    tx,
    command.orderId,
    (state) => decide(command, state),
    (events) => publishEvents(tx, outbox, events),
  );
}

function handleById(
  tx: Transaction,
  outbox: Outbox<Catalog>,
  shipmentId: string,
  command: WarehouseCommand,
): Promise<ShipmentRow> {
  return updateShipment(
    tx,
    shipmentId,
    (state) => decide(command, state),
    (events) => publishEvents(tx, outbox, events),
  );
}
