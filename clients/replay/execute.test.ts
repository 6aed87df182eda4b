import { gbp } from '@sidecart/contracts/money';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
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
const CANCELLATION = { invoice: 'C500003', quantity: '-6', date: '2010-12-03 09:00:00' };

describe('a replay', () => {
  test('receives what each order needs, places them in date order and brings the prices along', async () => {
    const shop = createFakeShop();
    const result = await replay(shop, [DEARER, SALE, { ...DEARER, invoice: '500004', price: '0.85' }]);
    expect(inShort(result)).toEqual(['500001 confirmed', '500002 confirmed', '500004 confirmed']);
    expect(result).toMatchObject({ priceChanges: 2, repeated: 0, wrongTotals: [], ended: 3 });
    expect(shop.stockBySku.get('10001')).toMatchObject({ received: 18, on_hand: 0, committed: 18 });
    expect(changes(shop, 'PUT')).toEqual(['PUT 10001 95 2026-01-01', 'PUT 10001 85 2026-01-01']);
  });

  test('gives each invoice one end', async () => {
    const records = [
      SALE,
      DEARER,
      CANCELLATION,
      { ...CANCELLATION, invoice: 'C500004' },
      { invoice: '500005', code: 'POST' },
    ];
    const result = await replay(createFakeShop(), records);
    expect(inShort(result)).toEqual([
      '500001 cancelled',
      '500005 no line to order: no goods',
      '500002 confirmed',
      'C500003 cancelled',
      'C500004 unmatched',
    ]);
  });

  test('run again receives, orders and reprices nothing, and comes to the same ends', async () => {
    const shop = createFakeShop();
    const records = [SALE, DEARER, CANCELLATION];
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

  test('first limited and then whole comes to the same as whole', async () => {
    const records = [SALE, DEARER, CANCELLATION];
    const inParts = createFakeShop();
    await replay(inParts, records, 1);
    const whole = createFakeShop();
    expect(inShort(await replay(inParts, records))).toEqual(inShort(await replay(whole, records)));
    expect([...inParts.stockBySku.values()]).toEqual([...whole.stockBySku.values()]);
  });

  test('makes its prices current after an import of newer ones', async () => {
    const shop = createFakeShop();
    await shop.createProduct({
      sku: '10001',
      name: 'TEA CUP',
      unit_price: gbp(99),
      effective_on: '2011-12-09',
    });
    expect(inShort(await replay(shop, [SALE]))).toEqual(['500001 confirmed']);
    expect(changes(shop, 'PUT')).toEqual(['PUT 10001 85 2026-01-01']);
  });

  test('ends a cancellation whose order was rejected without a match', async () => {
    const shop = createFakeShop();
    // Somebody else takes what comes in.
    const receiveStock: ShopApi['receiveStock'] = async () => {};
    const result = await replay({ ...shop, receiveStock }, [SALE, CANCELLATION]);
    expect(inShort(result)).toEqual(['500001 rejected', 'C500003 unmatched']);
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
    expect(wrongTotals).toEqual(['ord_1: 511 pence, 510 on invoice 500001']);
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
      date: fc.constantFrom('2010-12-01 09:00:00', '2010-12-02 09:00:00'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 15 }), async (records) => {
        const shop = createFakeShop();
        const { endings } = await replay(shop, records);
        expect(endings.map((ending) => ending.invoice).sort()).toEqual(
          [...new Set(records.map((one) => one.invoice))].sort(),
        );
        expect(await keepBooks(shop.placedOrders.values(), shop.stock())).toMatchObject({
          faults: [],
          unsettled: [],
        });
      }),
      { numRuns: 60 },
    );
  });
});
