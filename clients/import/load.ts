import { gbp } from '@sidecart/contracts/money';
import type { PriceEntry } from '@sidecart/contracts/products';
import { RefusedError } from '../gateway-client.ts';
import { mapAhead } from '../map-ahead.ts';
import type { CatalogueProduct } from '../retail/catalogue.ts';
import type { ShopApi } from '../shop-api.ts';

/** What loading a catalogue did; prices count per product and day. */
export interface LoadResult {
  created: number;
  existing: number;
  recorded: number;
  unchanged: number;
  /** Products of which the shop refused something, with its words. */
  refused: { sku: string; reason: string }[];
}

/** Enough to keep the shop busy on two cores; more only lengthens its queues. */
const PRODUCTS_AT_A_TIME = 12;

/**
 * Brings the shop's products and price histories up to the catalogue. Repeating it changes nothing, whatever was
 * done before: a known product's history is compared day by day and only what differs is recorded. The prices of
 * one product are recorded one after the other, oldest first, so that each is current in its turn.
 */
export async function loadCatalogue(
  shop: ShopApi,
  products: readonly CatalogueProduct[],
  onPricesDone: (count: number) => void,
): Promise<LoadResult> {
  const result: LoadResult = { created: 0, existing: 0, recorded: 0, unchanged: 0, refused: [] };
  for await (const part of mapAhead(products, PRODUCTS_AT_A_TIME, (p) =>
    loadProduct(shop, p, onPricesDone),
  )) {
    result.created += part.created;
    result.existing += part.existing;
    result.recorded += part.recorded;
    result.unchanged += part.unchanged;
    result.refused.push(...part.refused);
  }
  return result;
}

async function loadProduct(
  shop: ShopApi,
  product: CatalogueProduct,
  onPricesDone: (count: number) => void,
): Promise<LoadResult> {
  const result: LoadResult = { created: 0, existing: 0, recorded: 0, unchanged: 0, refused: [] };
  let done = 0;
  try {
    const missing = await createOrCompare(shop, product, result);
    done = product.prices.length - missing.length;
    onPricesDone(done);
    for (const { date, price } of missing) {
      const { changed } = await shop.setPrice(product.sku, gbp(price), date);
      if (changed) result.recorded++;
      else result.unchanged++;
      done++;
      onPricesDone(1);
    }
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    result.refused.push({ sku: product.sku, reason: error.message });
    onPricesDone(product.prices.length - done);
  }
  return result;
}

/** The prices that are still to be recorded once the product exists. */
async function createOrCompare(
  shop: ShopApi,
  product: CatalogueProduct,
  result: LoadResult,
): Promise<CatalogueProduct['prices']> {
  const [first, ...later] = product.prices;
  if (first === undefined) return [];
  const { sku, name } = product;
  const { created } = await shop.createProduct({
    sku,
    name,
    unit_price: gbp(first.price),
    effective_on: first.date,
  });
  if (created) {
    result.created++;
    result.recorded++;
    return later;
  }
  const recorded = pricesByDate(await shop.priceHistory(sku));
  const missing = product.prices.filter(({ date, price }) => recorded.get(date) !== price);
  result.existing++;
  result.unchanged += product.prices.length - missing.length;
  return missing;
}

/** The price of a day is the last one recorded for it. */
function pricesByDate(history: readonly PriceEntry[]): Map<string, number> {
  const inOrder = history.toSorted((a, b) => a.version - b.version);
  return new Map(inOrder.map((entry) => [entry.effective_on, entry.unit_price.amount]));
}
