import type { Catalog } from '@sidecart/contracts/catalog';
import type { Database } from '@sidecart/kit/db';
import { DomainError } from '@sidecart/kit/domain-error';
import type { Outbox } from '@sidecart/messaging/outbox';
import { createProduct, dated, isSameCreation, retire, type StatedPrice, setPrice } from './product.ts';
import { publishEvents } from './publish.ts';
import {
  findFirstPrice,
  findPriceOfDay,
  insertProduct,
  type ProductRow,
  requireProduct,
  toProduct,
  updateProduct,
} from './store.ts';

export interface ProductDeps {
  database: Database;
  outbox: Outbox<Catalog>;
  clock: () => Date;
}

/** Creates a product; `created` is false when it had been created just so before. Throws DomainError `product_exists`. */
export function create(
  { database: { db }, outbox, clock }: ProductDeps,
  request: { sku: string; name: string; price: StatedPrice },
): Promise<{ row: ProductRow; created: boolean }> {
  const { sku, name, price } = request;
  const event = createProduct(sku, name, price, clock().toISOString());
  return db.transaction(async (tx) => {
    const created = await insertProduct(tx, event);
    if (created) {
      await publishEvents(tx, outbox, [event]);
      return { row: created, created: true };
    }
    const row = await requireProduct(tx, sku);
    const first = await findFirstPrice(tx, sku);
    if (first && isSameCreation(toProduct(row), first, name, price)) return { row, created: false };
    throw new DomainError('conflict', 'product_exists', { sku });
  });
}

/** Records a price; `changed` is false when that day had this price already. */
export function changePrice(
  { database: { db }, outbox, clock }: ProductDeps,
  sku: string,
  stated: StatedPrice,
): Promise<{ row: ProductRow; changed: boolean }> {
  const at = clock().toISOString();
  const price = dated(stated, at);
  return db.transaction(async (tx) => {
    const { row, events } = await updateProduct(tx, sku, async (product) =>
      setPrice(product, price, await findPriceOfDay(tx, sku, price.effectiveOn), at),
    );
    await publishEvents(tx, outbox, events);
    return { row, changed: events.length > 0 };
  });
}

/** Takes a product off sale; doing it again changes nothing. */
export function retireProduct(
  { database: { db }, outbox, clock }: ProductDeps,
  sku: string,
): Promise<ProductRow> {
  const at = clock().toISOString();
  return db.transaction(async (tx) => {
    const { row, events } = await updateProduct(tx, sku, (product) => retire(product, at));
    await publishEvents(tx, outbox, events);
    return row;
  });
}
