import { Receipt, Stock } from '@sidecart/contracts/inventory';
import { Money } from '@sidecart/contracts/money';
import { type NewOrderInput, type NewRefund, Order } from '@sidecart/contracts/orders';
import { Payment } from '@sidecart/contracts/payments';
import { type NewProduct, PriceHistory, PriceSet, Product } from '@sidecart/contracts/products';
import { type HandOver, Shipment } from '@sidecart/contracts/shipping';
import { z } from 'zod';
import { type Ask, type Gateway, problemOf, read } from './gateway-client.ts';

/** The answer to an order placed with prices: the order, or the prices that hold now for lines at fault. */
export type Placement =
  | { order: Order; repeated: boolean }
  | { changedPrices: { line: number; current: Money }[] };

const OrderSummary = Order.omit({ lines: true, rejection: true, cancellation: true });
/** An order as lists show it, without its lines. */
export type OrderSummary = z.infer<typeof OrderSummary>;

const ShipmentSummary = Shipment.omit({ lines: true, packages: true });
/** A shipment as lists show it, without its lines and packages. */
export type ShipmentSummary = z.infer<typeof ShipmentSummary>;

/** The operations of the shop that these clients use. Each throws RefusedError for an answer that it does not name. */
export interface ShopApi {
  /** `created` is false when the shop has the product already, be it with another name or another price. */
  createProduct(product: NewProduct): Promise<{ created: boolean }>;
  /** `date` is YYYY-MM-DD; without it the price is today's. `changed` is false when that day had this price already. */
  setPrice(sku: string, price: Money, date?: string): Promise<{ changed: boolean }>;
  product(sku: string): Promise<Product>;
  priceHistory(sku: string): Promise<PriceHistory['items']>;
  receiveStock(key: string, reference: string, lines: { sku: string; quantity: number }[]): Promise<void>;
  placeOrder(key: string, order: NewOrderInput): Promise<Placement>;
  order(id: string): Promise<Order>;
  /**
   * The order, cancelled or with shipping asked whether it can still be stopped; undefined when it can no longer be. Cancelling
   * twice is the same as once.
   */
  cancelOrder(id: string, reason: string): Promise<Order | undefined>;
  /** The order, with the refund asked for. Without lines all that is not paid back yet. */
  refundOrder(key: string, id: string, refund: NewRefund): Promise<Order>;
  /** Undefined as long as there is none, or for good when the order was cancelled early. */
  shipmentOf(orderId: string): Promise<ShipmentSummary | undefined>;
  /** Packs all that is in no package yet; without effect where nothing is left, or to be, packed. */
  packRest(key: string, shipmentId: string): Promise<void>;
  /** False when pieces are in no package, or nothing is to leave any more. */
  handOver(shipmentId: string, to: HandOver): Promise<boolean>;
  deliver(shipmentId: string): Promise<void>;
  products(): AsyncIterable<Product>;
  stock(): AsyncIterable<Stock>;
  stockOf(sku: string): Promise<Stock>;
  /** Newest first; what happened a moment ago may be missing. */
  orders(): AsyncIterable<OrderSummary>;
  /** Newest first. */
  payments(): AsyncIterable<Payment>;
  /** Never more than one, if all is well. */
  paymentsOf(orderId: string): Promise<Payment[]>;
}

const PAGE_SIZE = 200;

export function createShopApi(gateway: Gateway): ShopApi {
  return {
    async createProduct(product) {
      const ask: Ask = { method: 'POST', path: '/v1/products', body: product };
      const answer = await gateway.send(ask);
      if (problemOf(answer)?.code === 'product_exists') return { created: false };
      read(ask, answer, Product, 200, 201);
      return { created: answer.status === 201 };
    },

    async setPrice(sku, price, date) {
      const body = { unit_price: price, ...(date !== undefined && { effective_on: date }) };
      const ask: Ask = { method: 'PUT', path: `/v1/products/${encodeURIComponent(sku)}/price`, body };
      return read(ask, await gateway.send(ask), PriceSet, 200);
    },

    async product(sku) {
      const ask: Ask = { method: 'GET', path: `/v1/products/${encodeURIComponent(sku)}` };
      return read(ask, await gateway.send(ask), Product, 200);
    },

    async priceHistory(sku) {
      const ask: Ask = { method: 'GET', path: `/v1/products/${encodeURIComponent(sku)}/prices` };
      return read(ask, await gateway.send(ask), PriceHistory, 200).items;
    },

    async receiveStock(key, reference, lines) {
      const ask: Ask = { method: 'POST', path: '/v1/stock/receipts', key, body: { reference, lines } };
      read(ask, await gateway.send(ask), Receipt, 200, 201);
    },

    async placeOrder(key, order) {
      const ask: Ask = { method: 'POST', path: '/v1/orders', key, body: order };
      const answer = await gateway.send(ask);
      if (problemOf(answer)?.code === 'price_changed') {
        return { changedPrices: read(ask, answer, PriceChanges, 409).errors };
      }
      return { order: read(ask, answer, Order, 200, 201), repeated: answer.status === 200 };
    },

    async order(id) {
      const ask: Ask = { method: 'GET', path: `/v1/orders/${id}` };
      return read(ask, await gateway.send(ask), Order, 200);
    },

    async cancelOrder(id, reason) {
      const ask: Ask = { method: 'POST', path: `/v1/orders/${id}/cancel`, body: { reason } };
      const answer = await gateway.send(ask);
      if (problemOf(answer)?.code === 'order_not_cancellable') return undefined;
      return read(ask, answer, Order, 200, 202);
    },

    async refundOrder(key, id, refund) {
      const ask: Ask = { method: 'POST', path: `/v1/orders/${id}/refunds`, key, body: refund };
      return read(ask, await gateway.send(ask), Order, 200, 202);
    },

    async shipmentOf(orderId) {
      const ask: Ask = { method: 'GET', path: `/v1/shipments?order_id=${orderId}` };
      return read(ask, await gateway.send(ask), z.object({ items: z.array(ShipmentSummary) }), 200).items[0];
    },

    async packRest(key, shipmentId) {
      const ask: Ask = { method: 'POST', path: `/v1/shipments/${shipmentId}/packages`, key, body: {} };
      const answer = await gateway.send(ask);
      if (NOTHING_TO_PACK.includes(problemOf(answer)?.code ?? '')) return;
      read(ask, answer, Shipment, 200, 201);
    },

    async handOver(shipmentId, to) {
      const ask: Ask = { method: 'POST', path: `/v1/shipments/${shipmentId}/hand-over`, body: to };
      const answer = await gateway.send(ask);
      if (NOT_TO_LEAVE.includes(problemOf(answer)?.code ?? '')) return false;
      read(ask, answer, Shipment, 200);
      return true;
    },

    async deliver(shipmentId) {
      const ask: Ask = { method: 'POST', path: `/v1/shipments/${shipmentId}/deliver` };
      read(ask, await gateway.send(ask), Shipment, 200);
    },

    async stockOf(sku) {
      const ask: Ask = { method: 'GET', path: `/v1/stock/${encodeURIComponent(sku)}` };
      return read(ask, await gateway.send(ask), Stock, 200);
    },

    async paymentsOf(orderId) {
      const ask: Ask = { method: 'GET', path: `/v1/payments?order_id=${orderId}` };
      return read(ask, await gateway.send(ask), z.object({ items: z.array(Payment) }), 200).items;
    },

    products: () => pages(gateway, '/v1/products', Product),
    stock: () => pages(gateway, '/v1/stock', Stock),
    orders: () => pages(gateway, '/v1/orders', OrderSummary),
    payments: () => pages(gateway, '/v1/payments', Payment),
  };
}

const NOTHING_TO_PACK = ['nothing_left_to_pack', 'shipment_has_left', 'shipment_cancelled'];
const NOT_TO_LEAVE = ['not_all_packed', 'shipment_cancelled'];

const PriceChanges = z.object({
  errors: z.array(
    z
      .object({ pointer: z.string().regex(/^\/lines\/\d+\//), current: Money })
      .transform(({ pointer, current }) => ({ line: Number(pointer.split('/')[2]), current })),
  ),
});

async function* pages<S extends z.ZodType>(
  gateway: Gateway,
  path: string,
  item: S,
): AsyncGenerator<z.output<S>> {
  const page = z.object({ items: z.array(item), next_cursor: z.string().optional() });
  let cursor: string | undefined;
  do {
    const query = new URLSearchParams({ limit: String(PAGE_SIZE), ...(cursor !== undefined && { cursor }) });
    const ask: Ask = { method: 'GET', path: `${path}?${query}` };
    const { items, next_cursor } = read(ask, await gateway.send(ask), page, 200);
    yield* items;
    cursor = next_cursor;
  } while (cursor !== undefined);
}
