import type { StockLine } from '@sidecart/contracts/common';
import { NewReceipt, type Stock } from '@sidecart/contracts/inventory';
import { type Money, sameMoney } from '@sidecart/contracts/money';
import { NewPrice, NewProduct, type PriceEntry, type Product } from '@sidecart/contracts/products';
import { type FakeWorld, ok, page, problem, type Serve } from './fake-http.ts';

/** Where pieces of a product are. */
export type Place = 'on_hand' | 'reserved' | 'committed';

/** The fake of products and inventory. */
export interface FakeCatalogue {
  serve: Serve;
  stock: Map<string, Stock>;
  /** Undefined for a product that there is not. */
  priceOf(sku: string): Money | undefined;
  move(lines: readonly StockLine[], from: Place, to: Place): void;
}

export function createFakeCatalogue({ today, requests, now }: FakeWorld): FakeCatalogue {
  const histories = new Map<string, { name: string; entries: PriceEntry[] }>();
  const stock = new Map<string, Stock>();
  const receipts = new Map<string, object>();

  const record = (sku: string, unit_price: Money, effective_on: string) => {
    const entries = histories.get(sku)?.entries ?? [];
    entries.push({ effective_on, unit_price, version: entries.length + 1, recorded_at: now() });
  };
  const priceOf = (sku: string): Money | undefined => {
    const latest = histories
      .get(sku)
      ?.entries.toSorted((a, b) =>
        a.effective_on === b.effective_on ? a.version - b.version : a.effective_on < b.effective_on ? -1 : 1,
      );
    return latest?.at(-1)?.unit_price;
  };
  const productOf = (sku: string): Product => {
    const { name, entries } = histories.get(sku) as { name: string; entries: PriceEntry[] };
    const last = entries.at(-1) as PriceEntry;
    return {
      sku,
      name,
      status: 'active',
      unit_price: priceOf(sku) as Money,
      version: last.version,
      updated_at: last.recorded_at,
    };
  };

  const createProduct = (body: unknown) => {
    const { sku, name, unit_price, effective_on = today } = NewProduct.parse(body);
    requests.push(`POST ${sku} ${unit_price.amount}`);
    if (histories.has(sku)) return problem(409, 'product_exists');
    histories.set(sku, { name, entries: [] });
    stock.set(sku, { sku, on_hand: 0, reserved: 0, committed: 0, received: 0 });
    record(sku, unit_price, effective_on);
    return ok(productOf(sku), 201);
  };
  const setPrice = (sku: string, body: unknown) => {
    const { unit_price, effective_on = today } = NewPrice.parse(body);
    requests.push(`PUT ${sku} ${unit_price.amount} ${effective_on}`);
    const known = histories.get(sku)?.entries.findLast((one) => one.effective_on === effective_on);
    const changed = !known || !sameMoney(known.unit_price, unit_price);
    if (changed) record(sku, unit_price, effective_on);
    return ok({ product: productOf(sku), changed });
  };
  const receive = (key: string, body: unknown) => {
    const { reference, lines } = NewReceipt.parse(body);
    requests.push(`RECEIVE ${reference}`);
    const known = receipts.get(key);
    if (known) return ok(known);
    for (const { sku, quantity } of lines) {
      const entry = stock.get(sku);
      if (!entry) return problem(422, 'unknown_product');
      entry.on_hand += quantity;
      entry.received += quantity;
    }
    const receipt = { id: 'rcp_00000000-0000-7000-8000-000000000000', reference, lines };
    receipts.set(key, receipt);
    return ok(receipt, 201);
  };

  return {
    stock,
    priceOf,
    move(lines, from, to) {
      for (const { sku, quantity } of lines) {
        const entry = stock.get(sku) as Stock;
        entry[from] -= quantity;
        entry[to] += quantity;
        if (entry[from] < 0) throw new Error(`${entry[from]} of ${sku} ${from}`);
      }
    },
    serve({ method, key = '', body }, [resource, sku, part], query) {
      const missing = sku !== undefined && sku !== 'receipts' && !histories.has(sku);
      switch (`${method} ${resource}${sku === undefined ? '' : '/'}${part ?? ''}`) {
        case 'POST products':
          return createProduct(body);
        case 'GET products':
          return page([...histories.keys()].map(productOf), query);
        case 'GET products/':
          return missing ? problem(404, 'not_found') : ok(productOf(sku as string));
        case 'PUT products/price':
          return missing ? problem(404, 'not_found') : setPrice(sku as string, body);
        case 'GET products/prices':
          return missing ? problem(404, 'not_found') : ok({ items: histories.get(sku as string)?.entries });
        case 'POST stock/':
          return receive(key, body);
        case 'GET stock':
          return page([...stock.values()], query);
        case 'GET stock/':
          return missing ? problem(404, 'not_found') : ok(stock.get(sku as string));
      }
      return undefined;
    },
  };
}
