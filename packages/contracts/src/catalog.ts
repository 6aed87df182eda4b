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
import {
  CancelOverdueOrder,
  CheckoutStepOverdue,
  OrderAmended,
  OrderCancelled,
  OrderConfirmed,
  OrderDelivered,
  OrderLost,
  OrderPlaced,
  OrderRefunded,
  OrderRejected,
  OrderShipped,
} from './orders.ts';
import {
  AuthorisePayment,
  CapturePayment,
  CaptureRefused,
  PaymentAuthorised,
  PaymentCaptured,
  PaymentDeclined,
  PaymentRefunded,
  PaymentVoided,
  RefundPayment,
  RefundRefused,
  VoidPayment,
  VoidRefused,
} from './payments.ts';
import { ProductCreated, ProductPriceChanged, ProductRetired } from './products.ts';
import {
  AmendShipment,
  CancelShipment,
  CreateShipment,
  ShipmentAmended,
  ShipmentCancelled,
  ShipmentCreated,
  ShipmentDelivered,
  ShipmentHandedOver,
  ShipmentLost,
} from './shipping.ts';

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
  OrderAmended: fact('orders', OrderAmended, byOrder),
  OrderShipped: fact('orders', OrderShipped, byOrder),
  OrderDelivered: fact('orders', OrderDelivered, byOrder),
  OrderLost: fact('orders', OrderLost, byOrder),
  OrderRefunded: fact('orders', OrderRefunded, byOrder),
  CheckoutStepOverdue: toItself('orders', CheckoutStepOverdue, byOrder),
  CancelOverdueOrder: toItself('orders', CancelOverdueOrder, byOrder),

  ReserveStock: command('inventory', ReserveStock, byOrder),
  ReleaseStock: command('inventory', ReleaseStock, byOrder),

  StockReceived: fact('inventory', StockReceived, (data) => data.receipt_id),
  StockReserved: fact('inventory', StockReserved, byOrder),
  StockRejected: fact('inventory', StockRejected, byOrder),
  StockReleased: fact('inventory', StockReleased, byOrder),
  StockCommitted: fact('inventory', StockCommitted, byOrder),

  AuthorisePayment: command('payments', AuthorisePayment, byOrder),
  CapturePayment: command('payments', CapturePayment, byOrder),
  VoidPayment: command('payments', VoidPayment, byOrder),
  RefundPayment: command('payments', RefundPayment, byOrder),

  PaymentAuthorised: fact('payments', PaymentAuthorised, byOrder),
  PaymentDeclined: fact('payments', PaymentDeclined, byOrder),
  PaymentCaptured: fact('payments', PaymentCaptured, byOrder),
  CaptureRefused: fact('payments', CaptureRefused, byOrder),
  PaymentVoided: fact('payments', PaymentVoided, byOrder),
  VoidRefused: fact('payments', VoidRefused, byOrder),
  PaymentRefunded: fact('payments', PaymentRefunded, byOrder),
  RefundRefused: fact('payments', RefundRefused, byOrder),

  CreateShipment: command('shipping', CreateShipment, byOrder),
  AmendShipment: command('shipping', AmendShipment, byOrder),
  CancelShipment: command('shipping', CancelShipment, byOrder),

  ShipmentCreated: fact('shipping', ShipmentCreated, byOrder),
  ShipmentAmended: fact('shipping', ShipmentAmended, byOrder),
  ShipmentCancelled: fact('shipping', ShipmentCancelled, byOrder),
  ShipmentHandedOver: fact('shipping', ShipmentHandedOver, byOrder),
  ShipmentDelivered: fact('shipping', ShipmentDelivered, byOrder),
  ShipmentLost: fact('shipping', ShipmentLost, byOrder),

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
