import type { Stock } from '@sidecart/contracts/inventory';
import { addMoney, type Money, multiplyMoney, sameMoney } from '@sidecart/contracts/money';
import type { Order } from '@sidecart/contracts/orders';
import type { PriceEntry, Product } from '@sidecart/contracts/products';
import type { ShopApi } from '../shop-api.ts';

export interface FakeShop extends ShopApi {
  /** Requests that changed something or could have, in order: `PUT 10001 95`. */
  readonly requests: string[];
  readonly placedOrders: Map<string, Order>;
  readonly stockBySku: Map<string, Stock>;
}

/** A shop in memory with the rules that clients meet; an order ends when it is looked at for the first time. */
export function createFakeShop(today = '2026-01-01'): FakeShop {
  const histories = new Map<string, { name: string; entries: PriceEntry[] }>();
  const stockBySku = new Map<string, Stock>();
  const placedOrders = new Map<string, Order>();
  const orderByKey = new Map<string, string>();
  const receipts = new Set<string>();
  const requests: string[] = [];
  const at = `${today}T12:00:00.000Z`;

  const historyOf = (sku: string) => {
    const history = histories.get(sku);
    if (!history) throw new Error(`no product ${sku}`);
    return history;
  };
  const record = (sku: string, unit_price: Money, effective_on: string) => {
    const { entries } = historyOf(sku);
    entries.push({ effective_on, unit_price, version: entries.length + 1, recorded_at: at });
  };
  const currentPrice = (sku: string): Money => {
    const latest = historyOf(sku).entries.toSorted((a, b) =>
      a.effective_on === b.effective_on ? a.version - b.version : a.effective_on < b.effective_on ? -1 : 1,
    );
    return (latest.at(-1) as PriceEntry).unit_price;
  };
  const entry = (sku: string) => stockBySku.get(sku) as Stock;

  const endOrder = (order: Order) => {
    const short = order.lines.filter((line) => entry(line.sku).on_hand < line.quantity);
    order.status = short.length > 0 ? 'rejected' : 'confirmed';
    if (short.length > 0) return;
    for (const { sku, quantity } of order.lines) {
      entry(sku).on_hand -= quantity;
      entry(sku).committed += quantity;
    }
  };

  return {
    requests,
    placedOrders,
    stockBySku,
    async createProduct({ sku, name, unit_price, effective_on = today }) {
      requests.push(`POST ${sku} ${unit_price.amount}`);
      if (histories.has(sku)) return { created: false };
      histories.set(sku, { name, entries: [] });
      stockBySku.set(sku, { sku, on_hand: 0, reserved: 0, committed: 0, received: 0 });
      record(sku, unit_price, effective_on);
      return { created: true };
    },
    async setPrice(sku, price, date = today) {
      requests.push(`PUT ${sku} ${price.amount} ${date}`);
      const known = historyOf(sku).entries.findLast((one) => one.effective_on === date);
      if (known && sameMoney(known.unit_price, price)) return { changed: false };
      record(sku, price, date);
      return { changed: true };
    },
    async priceHistory(sku) {
      return historyOf(sku).entries;
    },
    async receiveStock(key, reference, lines) {
      requests.push(`RECEIVE ${reference}`);
      if (receipts.has(key)) return;
      receipts.add(key);
      for (const { sku, quantity } of lines) {
        entry(sku).on_hand += quantity;
        entry(sku).received += quantity;
      }
    },
    async placeOrder(key, order) {
      requests.push(`ORDER ${key}`);
      const known = placedOrders.get(orderByKey.get(key) ?? '');
      if (known) return { order: known, repeated: true };
      const changedPrices = order.lines.flatMap(({ sku, unit_price }, line) => {
        const current = currentPrice(sku);
        return sameMoney(current, unit_price) ? [] : [{ line, current }];
      });
      if (changedPrices.length > 0) return { changedPrices };
      const lines = order.lines.map((line) => ({
        ...line,
        line_total: multiplyMoney(line.unit_price, line.quantity),
      }));
      const placed: Order = {
        id: `ord_${placedOrders.size + 1}`,
        status: 'placed',
        ...(order.customer_id !== undefined && { customer_id: order.customer_id }),
        lines,
        total: addMoney(lines.map((line) => line.line_total)),
        placed_at: at,
        updated_at: at,
      };
      placedOrders.set(placed.id, placed);
      orderByKey.set(key, placed.id);
      return { order: { ...placed }, repeated: false };
    },
    async order(id) {
      const order = placedOrders.get(id) as Order;
      if (order.status === 'placed') endOrder(order);
      return order;
    },
    async cancelOrder(id) {
      requests.push(`CANCEL ${id}`);
      const order = placedOrders.get(id) as Order;
      if (order.status === 'rejected') return false;
      if (order.status === 'confirmed') {
        for (const { sku, quantity } of order.lines) {
          entry(sku).committed -= quantity;
          entry(sku).on_hand += quantity;
        }
      }
      order.status = 'cancelled';
      return true;
    },
    async *products() {
      for (const [sku, { name, entries }] of histories) {
        const product: Product = {
          sku,
          name,
          status: 'active',
          unit_price: currentPrice(sku),
          version: entries.length,
          updated_at: at,
        };
        yield product;
      }
    },
    async *stock() {
      yield* stockBySku.values();
    },
    async *orders() {
      yield* placedOrders.values();
    },
  };
}
