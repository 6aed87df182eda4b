import type { z } from 'zod';
import {
  ReleaseStock,
  ReserveStock,
  StockCommitted,
  StockReceived,
  StockRejected,
  StockReleased,
  StockReserved,
} from './inventory.ts';
import { CancelOverdueOrder, OrderCancelled, OrderConfirmed, OrderPlaced, OrderRejected } from './orders.ts';
import { ProductCreated, ProductPriceChanged, ProductRetired } from './products.ts';

/**
 * One kind of message. `key` names the thing a message is about: messages of one sender, topic and key are
 * published in the order in which they were written.
 */
export interface MessageDefinition<S extends z.ZodType = z.ZodType> {
  readonly topic: string;
  /** Of the topic `self`, which every service has for itself: whose message it is. */
  readonly service?: string;
  readonly kind: 'fact' | 'command';
  readonly schema: S;
  readonly key: (data: z.output<S>) => string;
}

/**
 * Every message of the shop by its CloudEvents `type`. A breaking change is a new type (`'OrderPlaced.v2'`)
 * beside the old one; both are published until the last reader of the old one is gone.
 */
export const catalog = {
  OrderPlaced: fact('orders', OrderPlaced, byOrder),
  OrderConfirmed: fact('orders', OrderConfirmed, byOrder),
  OrderRejected: fact('orders', OrderRejected, byOrder),
  OrderCancelled: fact('orders', OrderCancelled, byOrder),
  CancelOverdueOrder: toItself('orders', CancelOverdueOrder, byOrder),

  ReserveStock: command('inventory', ReserveStock, byOrder),
  ReleaseStock: command('inventory', ReleaseStock, byOrder),

  StockReceived: fact('inventory', StockReceived, (data) => data.receipt_id),
  StockReserved: fact('inventory', StockReserved, byOrder),
  StockRejected: fact('inventory', StockRejected, byOrder),
  StockReleased: fact('inventory', StockReleased, byOrder),
  StockCommitted: fact('inventory', StockCommitted, byOrder),

  ProductCreated: fact('products', ProductCreated, bySku),
  ProductPriceChanged: fact('products', ProductPriceChanged, bySku),
  ProductRetired: fact('products', ProductRetired, bySku),
} as const;

export type Catalog = typeof catalog;

function fact<S extends z.ZodType>(owner: string, schema: S, key: (data: z.output<S>) => string) {
  return { topic: owner, kind: 'fact', schema, key } satisfies MessageDefinition<S>;
}

function command<S extends z.ZodType>(taker: string, schema: S, key: (data: z.output<S>) => string) {
  return { topic: `commands.${taker}`, kind: 'command', schema, key } satisfies MessageDefinition<S>;
}

/** It passes no broker, so topology.yaml has no row for it. */
function toItself<S extends z.ZodType>(service: string, schema: S, key: (data: z.output<S>) => string) {
  return { topic: 'self', service, kind: 'command', schema, key } satisfies MessageDefinition<S>;
}

function byOrder(data: { order_id: string }): string {
  return data.order_id;
}

function bySku(data: { sku: string }): string {
  return data.sku;
}
