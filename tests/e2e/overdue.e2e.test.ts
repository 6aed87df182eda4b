import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  call,
  deadLetters,
  type LocalShop,
  orderEnds,
  orderStatus,
  placeOrder,
  productWithStock,
  query,
  sleep,
  stockOf,
  testShop,
  until,
} from './shop.ts';

/** Long enough for an order that is answered, also on a machine with much else to do. */
const TIMEOUT_MS = 5_000;

async function count(shop: LocalShop, database: string, rows: string): Promise<number> {
  return (await query<{ n: number }>(shop, database, `SELECT count(*)::int AS n FROM ${rows}`))[0]?.n ?? -1;
}

/** Waits until the deadline that this order had for its stock has been handled. */
const deadlineHandled = (shop: LocalShop, id: string) =>
  until('the deadline to be handled', async () => {
    const left = `(SELECT msg_key, payload FROM outbox_delayed UNION ALL SELECT msg_key, payload FROM outbox_local) AS m
      WHERE msg_key = '${id}' AND payload ->> 'step' = 'reserve'`;
    return (await count(shop, 'orders', left)) === 0;
  });

/** Waits until all that was said about this order, by either side, has been heard. */
const allHeard = (shop: LocalShop, id: string) =>
  until('all messages about the order to be handled', async () => {
    for (const [sender, receiver, topic] of [
      ['orders', 'inventory', 'commands.inventory'],
      ['orders', 'inventory', 'orders'],
      ['inventory', 'orders', 'inventory'],
    ] as const) {
      const about = `topic = '${topic}' AND msg_key = '${id}'`;
      if ((await count(shop, sender, `outbox WHERE ${about}`)) > 0) return false;
      const sent = await query<{ event_id: string }>(
        shop,
        sender,
        `SELECT event_id FROM sent WHERE ${about}`,
      );
      const ids = sent.map(({ event_id }) => `'${event_id}'`).join();
      const heard = `inbox WHERE topic = '${topic}' AND event_id IN (${ids})`;
      if (sent.length === 0 || (await count(shop, receiver, heard)) < sent.length) return false;
    }
    return true;
  });

/** Of the processes of orders; what is taken out is missing from the next one that starts. */
const environment: Record<string, string> = { RESERVE_TIMEOUT_MS: String(TIMEOUT_MS) };

let shop: LocalShop;
beforeAll(async () => {
  shop = await testShop({ appEnv: { orders: environment } });
});
afterAll(() => shop?.stop());

describe('when an order waits five seconds for its stock', () => {
  // First: on Redis the first message to a service that was away can be late by more than these five seconds (docs/brokers.md).
  test('and inventory answers, it stays confirmed when the time is over', async () => {
    const url = shop.gatewayUrl;
    const sku = await productWithStock(url, 4);
    const placed = await placeOrder(url, [{ sku, quantity: 3 }]);
    expect(await orderEnds(url, placed.body.id)).toBe('confirmed');
    await deadlineHandled(shop, placed.body.id);
    await allHeard(shop, placed.body.id);
    expect(await orderStatus(url, placed.body.id)).toBe('confirmed');
    expect(await stockOf(url, sku)).toMatchObject({ received: 4, on_hand: 1, reserved: 0, committed: 3 });
    expect(await deadLetters(shop)).toEqual([]);
  });

  test('and inventory is away for longer, it is cancelled, and what comes afterwards leaves the books exact', async () => {
    const url = shop.gatewayUrl;
    const sku = await productWithStock(url, 4);
    await shop.hold('inventory');
    const placed = await placeOrder(url, [{ sku, quantity: 3 }]);
    expect(placed.body.status).toBe('placed');
    expect(await orderEnds(url, placed.body.id)).toBe('cancelled');
    const { body: order } = await call(url, 'GET', `/v1/orders/${placed.body.id}`);
    expect(order.cancellation).toEqual({ reason: 'no stock was set aside in time' });
    expect(Date.parse(order.updated_at) - Date.parse(order.placed_at)).toBeGreaterThanOrEqual(TIMEOUT_MS);

    await shop.release('inventory');
    await allHeard(shop, placed.body.id);
    const reservations = await query(
      shop,
      'inventory',
      `SELECT status FROM reservations WHERE order_id = '${placed.body.id}'`,
    );
    expect(reservations).toEqual([{ status: 'released' }]);
    expect(await stockOf(url, sku)).toMatchObject({ received: 4, on_hand: 4, reserved: 0, committed: 0 });
    expect(await orderStatus(url, placed.body.id)).toBe('cancelled');
    expect(await deadLetters(shop)).toEqual([]);
  });
});

describe('control: when it waits as long as by default', () => {
  beforeAll(async () => {
    delete environment.RESERVE_TIMEOUT_MS;
    await shop.hold('orders');
    await shop.release('orders');
  });

  test('it is still placed after those five seconds, and confirmed when inventory is back', async () => {
    const url = shop.gatewayUrl;
    const sku = await productWithStock(url, 4);
    await shop.hold('inventory');
    const placed = await placeOrder(url, [{ sku, quantity: 3 }]);
    await sleep(TIMEOUT_MS + 2_000);
    expect(await orderStatus(url, placed.body.id)).toBe('placed');
    await shop.release('inventory');
    expect(await orderEnds(url, placed.body.id)).toBe('confirmed');
  });
});
