import { z } from 'zod';
import {
  AmendmentId,
  OrderId,
  PackageId,
  Quantity,
  ShipmentId,
  Sku,
  StockLine,
  Timestamp,
  text,
} from './common.ts';

// What clients send: an unknown field is a mistake.

export const NewPackage = z
  .strictObject({
    weight_grams: z.int().min(1).max(1_000_000).optional(),
    lines: z
      .array(z.strictObject({ sku: Sku, quantity: Quantity }))
      .min(1)
      .max(500)
      .optional()
      .meta({ description: 'Without it, all that is not yet in a package.' }),
  })
  .meta({ id: 'NewPackage' });
export type NewPackage = z.infer<typeof NewPackage>;

export const HandOver = z
  .strictObject({ carrier: text(60), tracking: text(80).optional() })
  .meta({ id: 'HandOver', description: 'To whom the packages were given.' });
export type HandOver = z.infer<typeof HandOver>;

export const Loss = z.strictObject({ reason: text(200) }).meta({ id: 'Loss' });
export type Loss = z.infer<typeof Loss>;

// What clients get.

export const ShipmentStatus = z
  .enum(['preparing', 'handed_over', 'delivered', 'lost', 'cancelled'])
  .meta({ id: 'ShipmentStatus' });
export type ShipmentStatus = z.infer<typeof ShipmentStatus>;

export const Package = z
  .object({ id: PackageId, weight_grams: z.int().optional(), lines: z.array(StockLine) })
  .meta({ id: 'Package' });

export const Shipment = z
  .object({
    id: ShipmentId,
    order_id: OrderId,
    status: ShipmentStatus,
    lines: z.array(StockLine),
    packages: z.array(Package),
    carrier: z.string().optional(),
    tracking: z.string().optional(),
    created_at: Timestamp,
    updated_at: Timestamp,
  })
  .meta({ id: 'Shipment' });
export type Shipment = z.infer<typeof Shipment>;

// Commands that shipping takes.

export const CreateShipment = z
  .object({ order_id: OrderId, lines: z.array(StockLine).min(1) })
  .meta({ id: 'CreateShipment', description: 'Pack what an order wants: it will be paid for.' });
export type CreateShipment = z.infer<typeof CreateShipment>;

export const AmendShipment = z
  .object({ order_id: OrderId, amendment_id: AmendmentId, lines: z.array(StockLine).min(1) })
  .meta({
    id: 'AmendShipment',
    description: 'Pack these lines in place of the earlier ones, if nothing has left yet.',
  });
export type AmendShipment = z.infer<typeof AmendShipment>;

export const CancelShipment = z
  .object({ order_id: OrderId, reason: z.string() })
  .meta({ id: 'CancelShipment', description: 'Pack nothing for this order, if nothing has left yet.' });
export type CancelShipment = z.infer<typeof CancelShipment>;

// Facts that shipping publishes. Readers ignore fields that they do not know.

export const ShipmentCreated = z
  .object({ order_id: OrderId, shipment_id: ShipmentId, created_at: Timestamp })
  .meta({ id: 'ShipmentCreated', description: 'The order is being packed.' });
export type ShipmentCreated = z.infer<typeof ShipmentCreated>;

export const ShipmentAmended = z
  .object({ order_id: OrderId, amendment_id: AmendmentId, lines: z.array(StockLine), amended_at: Timestamp })
  .meta({ id: 'ShipmentAmended', description: 'These lines will leave, and no others.' });
export type ShipmentAmended = z.infer<typeof ShipmentAmended>;

export const ShipmentCancelled = z
  .object({ order_id: OrderId, cancelled_at: Timestamp })
  .meta({ id: 'ShipmentCancelled', description: 'Nothing has left for this order, and nothing will.' });
export type ShipmentCancelled = z.infer<typeof ShipmentCancelled>;

export const ShipmentHandedOver = z
  .object({
    order_id: OrderId,
    shipment_id: ShipmentId,
    lines: z.array(StockLine),
    carrier: z.string(),
    tracking: z.string().optional(),
    handed_over_at: Timestamp,
  })
  .meta({ id: 'ShipmentHandedOver', description: 'The packages have left; there is no way back.' });
export type ShipmentHandedOver = z.infer<typeof ShipmentHandedOver>;

export const ShipmentDelivered = z
  .object({ order_id: OrderId, shipment_id: ShipmentId, delivered_at: Timestamp })
  .meta({ id: 'ShipmentDelivered', description: 'The customer has the packages.' });
export type ShipmentDelivered = z.infer<typeof ShipmentDelivered>;

export const ShipmentLost = z
  .object({ order_id: OrderId, shipment_id: ShipmentId, reason: z.string(), lost_at: Timestamp })
  .meta({ id: 'ShipmentLost', description: 'The packages will not arrive.' });
export type ShipmentLost = z.infer<typeof ShipmentLost>;
