import { Receipt, Stock } from '@sidecart/contracts/inventory';
import { Money } from '@sidecart/contracts/money';
import { type NewOrder, Order } from '@sidecart/contracts/orders';
import { type NewProduct, PriceHistory, PriceSet, Product } from '@sidecart/contracts/products';
import { z } from 'zod';
import { type Ask, type Gateway, problemOf, RefusedError, read } from './gateway-client.ts';

/** The answer to an order placed with prices: the order, or the prices that hold now for lines at fault. */
export type Placement =
  | { order: Order; repeated: boolean }
  | { changedPrices: { line: number; current: Money }[] };

const OrderSummary = Order.omit({ lines: true, rejection: true, cancellation: true });
/** An order as lists show it, without its lines. */
export type OrderSummary = z.infer<typeof OrderSummary>;

/** The operations of the shop that these clients use. Each throws RefusedError for an answer that it does not name. */
export interface ShopApi {
  /** `created` is false when the shop has the product already, be it with another name or another price. */
  createProduct(product: NewProduct): Promise<{ created: boolean }>;
  /** `date` is YYYY-MM-DD; without it the price is today's. `changed` is false when that day had this price already. */
  setPrice(sku: string, price: Money, date?: string): Promise<{ changed: boolean }>;
  priceHistory(sku: string): Promise<PriceHistory['items']>;
  receiveStock(key: string, reference: string, lines: { sku: string; quantity: number }[]): Promise<void>;
  placeOrder(key: string, order: NewOrder): Promise<Placement>;
  order(id: string): Promise<Order>;
  /** False when the order can no longer be cancelled; cancelling twice is true twice. */
  cancelOrder(id: string, reason: string): Promise<boolean>;
  products(): AsyncIterable<Product>;
  stock(): AsyncIterable<Stock>;
  /** Newest first. */
  orders(): AsyncIterable<OrderSummary>;
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
      if (answer.status === 200) return true;
      if (problemOf(answer)?.code === 'order_not_cancellable') return false;
      throw new RefusedError(ask, answer);
    },

    products: () => pages(gateway, '/v1/products', Product),
    stock: () => pages(gateway, '/v1/stock', Stock),
    orders: () => pages(gateway, '/v1/orders', OrderSummary),
  };
}

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
