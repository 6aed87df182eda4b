import type { Shipment } from '@sidecart/contracts/shipping';
import type { ShipmentRow } from './store.ts';

/** What a list shows of a shipment: a page of whole ones could outgrow what a sidecar carries. */
export type ShipmentSummary = Omit<Shipment, 'lines' | 'packages'>;

export function toShipment(row: ShipmentRow): Shipment {
  return {
    ...toSummary(row),
    lines: [...row.lines],
    packages: row.packages.map(({ id, weightGrams, lines }) => ({
      id,
      ...(weightGrams !== undefined && { weight_grams: weightGrams }),
      lines: [...lines],
    })),
  };
}

export function toSummary(row: ShipmentRow): ShipmentSummary {
  // Listed are shipments only, and `none` is none.
  if (row.status === 'none') throw new Error(`${row.id} has an id, but is no shipment`);
  return {
    id: row.id,
    order_id: row.orderId,
    status: row.status,
    ...(row.carrier !== null && { carrier: row.carrier }),
    ...(row.tracking !== null && { tracking: row.tracking }),
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}
