import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { call, gbp, placeOrder, type Target, until } from './shop.ts';

// Orders of four pieces, and what is to be said of their money.

const PRICE = 1000;

export interface PaidOrders {
  placed(token: string): Promise<string>;
  reaches(id: string, status: string, timeoutMs?: number): Promise<unknown>;
  /** Packed and given to the carrier, as a person does. */
  handOver(id: string): Promise<void>;
  /** What the provider did for these orders, in words. */
  moved(ids: string[]): Promise<string[]>;
  /** Held and taken once, by the provider's books and by payments'. */
  expectEachOnce(ids: string[]): Promise<void>;
}

export function paidOrders({ gatewayUrl, ledger }: Target, sku: string): PaidOrders {
  const get = async (path: string) => (await call(gatewayUrl, 'GET', path)).body;
  const moved = async (ids: string[]) =>
    (await ledger())
      .filter(({ key }) => ids.some((id) => key.startsWith(`${id}.`)))
      .map(({ kind, key, amount }) => `${key} ${kind} ${amount}`);
  return {
    async placed(token) {
      const answer = await placeOrder(gatewayUrl, [{ sku, quantity: 4 }], { token });
      expect(answer.status, answer.text).toBe(201);
      return answer.body.id;
    },

    reaches: (id, status, timeoutMs = 90_000) =>
      until(
        `order ${id} to be ${status}`,
        async () => (await get(`/v1/orders/${id}`)).status === status,
        timeoutMs,
      ),

    async handOver(id) {
      const [shipment] = await until('the shipment', async () => {
        const { items } = await get(`/v1/shipments?order_id=${id}`);
        return items.length > 0 && items;
      });
      const path = `/v1/shipments/${shipment.id}`;
      const headers = { 'idempotency-key': randomUUID() };
      const packed = await call(gatewayUrl, 'POST', `${path}/packages`, { body: {}, headers });
      expect(packed.status, packed.text).toBe(201);
      const left = await call(gatewayUrl, 'POST', `${path}/hand-over`, { body: { carrier: 'Post' } });
      expect(left.status, left.text).toBe(200);
    },

    moved,

    async expectEachOnce(ids) {
      const due = ids.flatMap((id) => [
        `${id}.authorise authorised ${PRICE}`,
        `${id}.capture captured ${PRICE}`,
      ]);
      expect((await moved(ids)).sort()).toEqual(due.sort());
      for (const id of ids)
        expect((await get(`/v1/payments?order_id=${id}`)).items[0]).toMatchObject({
          status: 'captured',
          authorised: gbp(PRICE),
          captured: gbp(PRICE),
          refunded: gbp(0),
        });
    },
  };
}
