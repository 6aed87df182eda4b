import type { Movement, Receipt, Stock } from '@sidecart/contracts/inventory';
import type { MovementRow, ReceiptRow, StockRow } from './store.ts';

export function toStock(row: StockRow): Stock {
  const { sku, onHand, reserved, committed, received } = row;
  return { sku, on_hand: onHand, reserved, committed, received };
}

export function toMovement(row: MovementRow): Movement {
  return {
    id: row.id,
    sku: row.sku,
    kind: row.kind,
    quantity: row.quantity,
    ...(row.orderId !== null && { order_id: row.orderId }),
    ...(row.receiptId !== null && { receipt_id: row.receiptId }),
    at: row.at.toISOString(),
  };
}

export function toReceipt(row: Pick<ReceiptRow, 'id' | 'reference' | 'lines'>): Receipt {
  return {
    id: row.id,
    ...(row.reference !== null && { reference: row.reference }),
    lines: [...row.lines],
  };
}
