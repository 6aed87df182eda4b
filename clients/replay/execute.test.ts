import { gbp } from '@sidecart/contracts/money';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seed } from '../../tests/seed.ts';
import { RefusedError } from '../gateway-client.ts';
import type { ShopApi } from '../shop-api.ts';
import { createFakeShop, type FakeShop } from '../testing/fake-shop.ts';
import { type Fields, lines } from '../testing/lines.ts';
import { keepBooks } from './books.ts';
import { createProducts, executeSteps, missingProducts } from './execute.ts';
import { planReplay } from './plan.ts';

/** Replays made-up records from beginning to end. */
async function replay(shop: ShopApi, records: Fields[], limit?: number) {
  const plan = planReplay(lines(...records), limit);
  await createProducts(shop, await missingProducts(shop, plan.products), () => {});
  let ended = 0;
  const run = {
    shop,
    fileId: 'f1',
    signal: new AbortController().signal,
    lookAfterMs: 0,
    onEnd: () => {
      ended++;
    },
  };
  return { ...(await executeSteps(run, plan.steps)), ended };
}

const inShort = ({ endings }: Awaited<ReturnType<typeof replay>>) =>
  endings.map((ending) => `${ending.invoice} ${ending.outcome === 'skipped' ? ending.rule : ending.outcome}`);

const changes = (shop: FakeShop, word: string) => shop.requests.filter((request) => request.startsWith(word));

const SALE = {};
const DEARER = { invoice: '500002', price: '0.95', date: '2010-12-02 09:00:00' };
/** On the day of the sale, and two days later, when that has left. */
const CANCELLATION = { invoice: 'C500003', quantity: '-6', date: '2010-12-01 17:00:00' };
const RETURN = { ...CANCELLATION, date: '2010-12-03 09:00:00' };

const books = (shop: FakeShop) => keepBooks(shop.placedOrders.values(), shop.stock(), shop.payments());
const BALANCED = { faults: [], unsettled: [] };
const orderOf = (shop: FakeShop, index = 0) => [...shop.placedOrders.values()][index];

describe('a replay', () => {
  test('receives what each order needs, places them in date order and brings the prices along', async () => {
    const shop = createFakeShop();
    const result = await replay(shop, [DEARER, SALE, { ...DEARER, invoice: '500004', price: '0.85' }]);
    expect(inShort(result)).toEqual(['500001 delivered', '500002 delivered', '500004 delivered']);
    expect(result).toMatchObject({ priceChanges: 2, repeated: 0, wrongTotals: [], ended: 3 });
    expect(shop.stockBySku.get('10001')).toMatchObject({ received: 18, on_hand: 0, committed: 18 });
    expect(changes(shop, 'PUT')).toEqual(['PUT 10001 95 2026-01-01', 'PUT 10001 85 2026-01-01']);
  });

  test('packs, hands over and delivers what is confirmed, and it is paid for', async () => {
    const shop = createFakeShop();
    await replay(shop, [SALE]);
    const order = orderOf(shop);
    expect(order).toMatchObject({ status: 'delivered', paid: gbp(510) });
    expect(shop.requests.slice(2)).toEqual([
      'ORDER replay-f1-500001-order',
      `PACK ${order?.id}`,
      `HAND OVER ${order?.id}`,
      `DELIVER ${order?.id}`,
    ]);
    expect(await books(shop)).toMatchObject({ ...BALANCED, leftOrders: 1, paid: 510, captured: 510 });
  });

  test('gives each invoice one end', async () => {
    const records = [
      SALE,
      DEARER,
      CANCELLATION,
      { ...CANCELLATION, invoice: 'C500004' },
      { invoice: '500005', code: 'POST' },
      { ...RETURN, invoice: 'C500006', price: '0.95', quantity: '-1' },
    ];
    const result = await replay(createFakeShop(), records);
    expect(inShort(result)).toEqual([
      '500001 cancelled',
      '500005 no line to order: no goods',
      'C500003 cancelled',
      'C500004 unmatched',
      '500002 delivered',
      'C500006 refunded',
    ]);
  });

  test('cancels what is cancelled on its day before it leaves: no money is taken', async () => {
    const shop = createFakeShop();
    await replay(shop, [SALE, CANCELLATION]);
    expect(orderOf(shop)?.status).toBe('cancelled');
    expect(changes(shop, 'HAND OVER')).toEqual([]);
    expect(shop.stockBySku.get('10001')).toMatchObject({ on_hand: 6, committed: 0 });
    expect(await books(shop)).toMatchObject({ ...BALANCED, captured: 0, held: 0 });
  });

  test('pays back what comes back later, line by line, and puts it on the shelf', async () => {
    const shop = createFakeShop();
    const result = await replay(shop, [
      SALE,
      { code: '10002', price: '2.50' },
      { ...RETURN, quantity: '-2' },
      { ...RETURN, invoice: 'C500004', date: '2010-12-04 09:00:00', code: '10002', price: '2.50' },
      { ...RETURN, invoice: 'C500005', date: '2010-12-05 09:00:00', quantity: '-4' },
    ]);
    expect(inShort(result)).toEqual([
      '500001 delivered',
      'C500003 refunded',
      'C500004 refunded',
      'C500005 refunded',
    ]);
    const id = orderOf(shop)?.id;
    expect(changes(shop, 'REFUND')).toEqual([
      `REFUND ${id} 2 10001`,
      `REFUND ${id} 6 10002`,
      `REFUND ${id} 4 10001`,
    ]);
    expect(orderOf(shop)).toMatchObject({ status: 'delivered', paid: gbp(2010), refunded: gbp(2010) });
    expect(result.orders.get(id ?? '')).toMatchObject({ refunded: gbp(2010) });
    expect(shop.stockBySku.get('10001')).toMatchObject({ on_hand: 6, committed: 0 });
    expect(await books(shop)).toMatchObject({ ...BALANCED, paid: 2010, refunded: 2010, paidBack: 2010 });
  });

  test('pays back the whole of an order that somebody else has handed over before it could be cancelled', async () => {
    const shop = createFakeShop();
    const cancelOrder: ShopApi['cancelOrder'] = async (id, reason) => {
      const shipment = shop.shipmentsByOrder.get(id);
      await shop.packRest('theirs', shipment?.id ?? '');
      await shop.handOver(shipment?.id ?? '', { carrier: 'somebody' });
      return shop.cancelOrder(id, reason);
    };
    const result = await replay({ ...shop, cancelOrder }, [SALE, CANCELLATION]);
    expect(inShort(result)).toEqual(['500001 confirmed', 'C500003 refunded']);
    expect(orderOf(shop)).toMatchObject({ status: 'shipped', paid: gbp(510), refunded: gbp(510) });
    expect(await books(shop)).toMatchObject(BALANCED);
  });

  test('packs again what was amended between packing and handing over', async () => {
    const shop = createFakeShop();
    let amended = false;
    const handOver: ShopApi['handOver'] = async (id, to) => {
      const shipment = [...shop.shipmentsByOrder.values()].find((one) => one.id === id);
      if (shipment && !amended) Object.assign(shipment, { packages: [] });
      amended = true;
      return shop.handOver(id, to);
    };
    expect(inShort(await replay({ ...shop, handOver }, [SALE]))).toEqual(['500001 delivered']);
    expect(changes(shop, 'PACK')).toHaveLength(2);
  });

  test('waits for the shipment, of which shipping hears a moment later', async () => {
    const shop = createFakeShop();
    let looks = 0;
    const shipmentOf: ShopApi['shipmentOf'] = async (id) => (++looks < 3 ? undefined : shop.shipmentOf(id));
    expect(inShort(await replay({ ...shop, shipmentOf }, [SALE]))).toEqual(['500001 delivered']);
    expect(looks).toBe(3);
  });

  test('goes on to the end of an order that was cancelled before it was packed', async () => {
    const shop = createFakeShop();
    const shipmentOf: ShopApi['shipmentOf'] = async (id) => {
      await shop.cancelOrder(id, 'a change of mind');
      return undefined;
    };
    expect(inShort(await replay({ ...shop, shipmentOf }, [SALE]))).toEqual(['500001 cancelled']);
  });

  test('stops at an order that needs a person, and says how it is settled', async () => {
    const shop = createFakeShop();
    const placeOrder: ShopApi['placeOrder'] = (key, order) =>
      shop.placeOrder(key, { ...order, payment_token: 'tok_refund_refused' });
    await expect(replay({ ...shop, placeOrder }, [SALE, RETURN])).rejects.toThrow(
      /needs a person: the provider refuses.*settlement/s,
    );
  });

  test('run again receives, orders and reprices nothing, and comes to the same ends', async () => {
    const shop = createFakeShop();
    const records = [SALE, DEARER, CANCELLATION, { ...RETURN, invoice: 'C500004', price: '0.95' }];
    const first = await replay(shop, records);
    const orders = structuredClone([...shop.placedOrders.values()]);
    const puts = changes(shop, 'PUT').length;
    const second = await replay(shop, records);
    expect(inShort(second)).toEqual(inShort(first));
    expect(second).toMatchObject({ priceChanges: 0, repeated: 2 });
    expect([...shop.placedOrders.values()]).toEqual(orders);
    expect(changes(shop, 'PUT')).toHaveLength(puts);
    expect(shop.stockBySku.get('10001')).toMatchObject({ received: 12 });
  });

  test.each([1, 2, 3])('first limited to %i and then whole comes to the same as whole', async (limit) => {
    const records = [SALE, DEARER, CANCELLATION, { ...RETURN, invoice: 'C500004', price: '0.95' }];
    const inParts = createFakeShop();
    await replay(inParts, records, limit);
    const whole = createFakeShop();
    expect(inShort(await replay(inParts, records))).toEqual(inShort(await replay(whole, records)));
    expect([...inParts.stockBySku.values()]).toEqual([...whole.stockBySku.values()]);
  });

  test('leaves what a later invoice of the day will cancel where it is, also when it does not come to that', async () => {
    const shop = createFakeShop();
    expect(inShort(await replay(shop, [SALE, CANCELLATION], 1))).toEqual(['500001 confirmed']);
    expect(await books(shop)).toMatchObject({ ...BALANCED, captured: 0, held: 510 });
  });

  test('makes its prices current after an import of newer ones', async () => {
    const shop = createFakeShop();
    await shop.createProduct({
      sku: '10001',
      name: 'TEA CUP',
      unit_price: gbp(99),
      effective_on: '2011-12-09',
    });
    expect(inShort(await replay(shop, [SALE]))).toEqual(['500001 delivered']);
    expect(changes(shop, 'PUT')).toEqual(['PUT 10001 85 2026-01-01']);
  });

  test.each([
    ['cancelled', CANCELLATION],
    ['refunded', RETURN],
  ])('ends a cancellation without a match whose order was rejected and not %s', async (_, cancellation) => {
    const shop = createFakeShop();
    // Somebody else takes what comes in.
    const receiveStock: ShopApi['receiveStock'] = async () => {};
    const result = await replay({ ...shop, receiveStock }, [SALE, cancellation]);
    expect(inShort(result)).toEqual(['500001 rejected', 'C500003 unmatched']);
  });

  test('ends a cancellation without a match whose money somebody else has given back; the next one is none the worse', async () => {
    const shop = createFakeShop();
    const refundOrder: ShopApi['refundOrder'] = async (key, id, refund) => {
      const theirs = { lines: [{ sku: '10001', quantity: 3 }], restock: true, reason: 'theirs' };
      await shop.refundOrder('theirs', id, theirs);
      return shop.refundOrder(key, id, refund);
    };
    const result = await replay({ ...shop, refundOrder }, [
      SALE,
      { ...RETURN, quantity: '-4' },
      { ...RETURN, invoice: 'C500004', quantity: '-2' },
    ]);
    expect(inShort(result)).toEqual(['500001 delivered', 'C500003 unmatched', 'C500004 refunded']);
    expect(orderOf(shop)).toMatchObject({ refunded: gbp(425) });
  });

  test('skips what the shop refuses for good, and tells its code', async () => {
    const shop = createFakeShop();
    const refuse = (status: number) => () => {
      const answer = {
        status,
        headers: new Headers(),
        body: { code: 'product_retired', title: 'R' },
        attempts: 1,
      };
      return Promise.reject(new RefusedError({ method: 'POST', path: '/' }, answer));
    };
    const ends = ['500001 refused by the shop: product_retired', 'C500003 unmatched'];
    expect(inShort(await replay({ ...shop, placeOrder: refuse(422) }, [SALE, CANCELLATION]))).toEqual(ends);
    expect(inShort(await replay({ ...shop, receiveStock: refuse(422) }, [SALE, CANCELLATION]))).toEqual(ends);
    await expect(replay({ ...shop, placeOrder: refuse(500) }, [SALE])).rejects.toThrow(RefusedError);
  });

  test('tells an order whose total is not that of its invoice', async () => {
    const shop = createFakeShop();
    const placeOrder: ShopApi['placeOrder'] = async (key, order) => {
      const placement = await shop.placeOrder(key, order);
      return 'order' in placement
        ? { ...placement, order: { ...placement.order, total: gbp(511) } }
        : placement;
    };
    const { wrongTotals } = await replay({ ...shop, placeOrder }, [SALE]);
    expect(wrongTotals).toEqual([`${orderOf(shop)?.id}: 511 pence, 510 on invoice 500001`]);
  });

  test('gives up when somebody else keeps changing a price', async () => {
    const shop = createFakeShop();
    const placeOrder = async () => ({ changedPrices: [{ line: 0, current: gbp(1) }] });
    await expect(replay({ ...shop, placeOrder }, [SALE])).rejects.toThrow('500001');
  });

  test('of any file gives every invoice one end and leaves books that agree', async () => {
    const record = fc.record({
      invoice: fc.constantFrom('500001', '500002', '500003', 'C500004', 'C500005'),
      code: fc.constantFrom('10001', '10002A', '10002a', 'POST'),
      quantity: fc.constantFrom('1', '2', '-1', '-2'),
      price: fc.constantFrom('0.85', '0.95', '0.0'),
      date: fc.constantFrom('2010-12-01 09:00:00', '2010-12-01 10:00:00', '2010-12-02 09:00:00'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 15 }), async (records) => {
        const shop = createFakeShop();
        const { endings } = await replay(shop, records);
        expect(endings.map((ending) => ending.invoice).sort()).toEqual(
          [...new Set(records.map((one) => one.invoice))].sort(),
        );
        expect(await books(shop)).toMatchObject(BALANCED);
      }),
      { seed, numRuns: 60 },
    );
  });
});
