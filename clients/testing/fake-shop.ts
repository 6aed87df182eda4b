import type { Stock } from '@sidecart/contracts/inventory';
import type { Order } from '@sidecart/contracts/orders';
import type { Payment } from '@sidecart/contracts/payments';
import type { Shipment } from '@sidecart/contracts/shipping';
import type { Answer, Gateway } from '../gateway-client.ts';
import { createShopApi, type ShopApi } from '../shop-api.ts';
import { createFakeCatalogue } from './fake-catalogue.ts';
import { createFakeCheckout } from './fake-checkout.ts';
import { createWorld, type FakeAnswer, problem, type Serve } from './fake-http.ts';
import { createFakeWarehouse } from './fake-warehouse.ts';

export interface FakeShop extends ShopApi {
  readonly gateway: Gateway;
  /** Requests that changed something or could have, in order: `PUT 10001 95`. */
  readonly requests: string[];
  readonly placedOrders: Map<string, Order>;
  readonly stockBySku: Map<string, Stock>;
  readonly shipmentsByOrder: Map<string, Shipment>;
  readonly paymentsByOrder: Map<string, Payment>;
}

/**
 * A shop in memory with the rules that clients meet, behind the same HTTP: requests and answers are checked against the contracts. What
 * the services tell each other arrives when somebody looks: an order takes its next step each time it is read.
 */
export function createFakeShop(today = '2026-01-01'): FakeShop {
  const world = createWorld(today);
  const catalogue = createFakeCatalogue(world);
  const warehouse = createFakeWarehouse(world);
  const checkout = createFakeCheckout(world, catalogue, warehouse);
  const services: Serve[] = [catalogue.serve, warehouse.serve, checkout.serve];

  const gateway: Gateway = {
    url: 'http://fake.shop',
    async send(ask) {
      const { pathname, searchParams } = new URL(ask.path, gateway.url);
      const path = pathname.split('/').filter(Boolean).slice(1);
      for (const serve of services) {
        const answer = serve(ask, path, searchParams);
        if (answer) return toAnswer(answer);
      }
      return toAnswer(problem(404, 'route_not_found'));
    },
  };

  return {
    ...createShopApi(gateway),
    gateway,
    requests: world.requests,
    placedOrders: checkout.orders,
    stockBySku: catalogue.stock,
    shipmentsByOrder: warehouse.shipments,
    paymentsByOrder: checkout.payments,
  };
}

/** As it would come over the wire: nothing of it is shared with the shop. */
function toAnswer({ status, body }: FakeAnswer): Answer {
  return { status, headers: new Headers(), body: JSON.parse(JSON.stringify(body)), attempts: 1 };
}
