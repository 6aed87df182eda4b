import { z } from 'zod';
import {
  MovementId,
  OrderId,
  Quantity,
  ReceiptId,
  ShortLine,
  Sku,
  StockLine,
  Timestamp,
  text,
} from './common.ts';

// What clients send: an unknown field is a mistake.

export const NewReceipt = z
  .strictObject({
    reference: text(100).optional().meta({ description: "The client's own number for the delivery." }),
    lines: z
      .array(z.strictObject({ sku: Sku, quantity: Quantity }))
      .min(1)
      .max(500),
  })
  .meta({ id: 'NewReceipt' });
export type NewReceipt = z.infer<typeof NewReceipt>;

// What clients get.

export const Receipt = z
  .object({ id: ReceiptId, reference: z.string().optional(), lines: z.array(StockLine) })
  .meta({ id: 'Receipt' });
export type Receipt = z.infer<typeof Receipt>;

const pieces = z.int().min(0);

export const Stock = z
  .object({ sku: Sku, on_hand: pieces, reserved: pieces, committed: pieces, received: pieces })
  .meta({ id: 'Stock', description: 'Always: received = on_hand + reserved + committed.' });
export type Stock = z.infer<typeof Stock>;

export const MovementKind = z
  .enum(['received', 'reserved', 'released', 'committed'])
  .meta({ id: 'MovementKind' });

export const Movement = z
  .object({
    id: MovementId,
    sku: Sku,
    kind: MovementKind,
    quantity: Quantity,
    order_id: OrderId.optional(),
    receipt_id: ReceiptId.optional(),
    at: Timestamp,
  })
  .meta({ id: 'Movement' });
export type Movement = z.infer<typeof Movement>;

// Commands that inventory takes.

export const ReserveStock = z
  .object({ order_id: OrderId, lines: z.array(StockLine).min(1) })
  .meta({ id: 'ReserveStock', description: 'Set stock aside for an order: every line or none.' });
export type ReserveStock = z.infer<typeof ReserveStock>;

export const ReleaseStock = z
  .object({
    order_id: OrderId,
    reason: z.string(),
    part: z
      .object({ id: z.string(), lines: z.array(StockLine).min(1) })
      .optional()
      .meta({ description: 'Only these pieces, once per id; without it all that is left.' }),
  })
  .meta({ id: 'ReleaseStock', description: 'Put back what is set aside for, or committed to, an order.' });
export type ReleaseStock = z.infer<typeof ReleaseStock>;

// Facts that inventory publishes. Readers ignore fields that they do not know.

export const StockReceived = z
  .object({ receipt_id: ReceiptId, lines: z.array(StockLine) })
  .meta({ id: 'StockReceived', description: 'Goods came in.' });
export type StockReceived = z.infer<typeof StockReceived>;

export const StockReserved = z
  .object({ order_id: OrderId, lines: z.array(StockLine) })
  .meta({ id: 'StockReserved', description: 'All that the order needs is set aside.' });
export type StockReserved = z.infer<typeof StockReserved>;

export const StockRejected = z
  .object({ order_id: OrderId, lines: z.array(ShortLine).min(1) })
  .meta({ id: 'StockRejected', description: 'Stock did not suffice; nothing is set aside.' });
export type StockRejected = z.infer<typeof StockRejected>;

export const StockReleased = z.object({ order_id: OrderId, lines: z.array(StockLine) }).meta({
  id: 'StockReleased',
  description: 'What was set aside is back on hand. No lines: nothing was set aside, and nothing will be.',
});
export type StockReleased = z.infer<typeof StockReleased>;

export const StockCommitted = z
  .object({ order_id: OrderId, lines: z.array(StockLine) })
  .meta({ id: 'StockCommitted', description: 'What was set aside now belongs to a confirmed order.' });
export type StockCommitted = z.infer<typeof StockCommitted>;
