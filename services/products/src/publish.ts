import type { Catalog } from '@sidecart/contracts/catalog';
import type { Transaction } from '@sidecart/kit/db';
import type { Outbox } from '@sidecart/messaging/outbox';
import type { ProductEvent } from './product.ts';

type Fact = Parameters<Outbox<Catalog>['publish']>[1];

/** Writes what the world is told, in the transaction of the change itself. */
export function publishEvents(
  tx: Transaction,
  outbox: Outbox<Catalog>,
  events: readonly ProductEvent[],
): Promise<void> {
  return outbox.publish(tx, ...events.map(factOf));
}

function factOf(event: ProductEvent): Fact {
  const { sku, version } = event;
  switch (event.type) {
    case 'ProductCreated': {
      const { unitPrice: unit_price, effectiveOn: effective_on } = event.price;
      return { type: 'ProductCreated', data: { sku, name: event.name, unit_price, effective_on, version } };
    }
    case 'ProductPriceChanged': {
      const { unitPrice: unit_price, effectiveOn: effective_on } = event.price;
      const { previous, isCurrent: is_current } = event;
      return {
        type: 'ProductPriceChanged',
        data: { sku, unit_price, previous, effective_on, is_current, version },
      };
    }
    case 'ProductRetired':
      return { type: 'ProductRetired', data: { sku, version } };
  }
}
