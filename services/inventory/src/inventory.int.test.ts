import { catalog } from '@sidecart/contracts/catalog';
import { newId, uuidv7 } from '@sidecart/kit/ids';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createOutbox } from '@sidecart/messaging/outbox';
import { PgSelectBase } from 'drizzle-orm/pg-core';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { seed } from '../../../tests/seed.ts';
import { deliver, type ServiceDatabase, serviceDatabase } from '../../../tests/service-fixture.ts';
import { createInventoryApp } from './app.ts';
import { subscriptions } from './subscriptions.ts';

let own: ServiceDatabase;
let app: ReturnType<typeof createInventoryApp>;

beforeAll(async () => {
  own = await serviceDatabase('inventory');
  const outbox = createOutbox({ service: 'inventory', catalog, owns: ['inventory'] });
  const deps = testDeps('inventory');
  const { database } = own;
  const consumer = createConsumer({ ...deps, database, topics: subscriptions(outbox) });
  app = createInventoryApp(deps, { database, outbox, consumer });
});
afterAll(() => own?.close());
afterEach(() => vi.restoreAllMocks());

interface Line {
  sku: string;
  quantity: number;
}

async function receive(lines: Line[], key: string = uuidv7()) {
  return callJson(app, 'POST', '/v1/stock/receipts', { lines }, { 'idempotency-key': key });
}

/** New products, each with so many pieces on hand. */
async function stocked(...quantities: number[]): Promise<string[]> {
  const skus = quantities.map(() => `T-${uuidv7()}`);
  for (const sku of skus) expect((await deliver(app, 'ProductCreated', { sku })).status).toBe(200);
  const lines = skus.map((sku, i) => ({ sku, quantity: quantities[i] as number }));
  const some = lines.filter((line) => line.quantity > 0);
  if (some.length > 0) expect((await receive(some)).status).toBe(201);
  return skus;
}

const reserve = (order_id: string, lines: Line[], id?: string) =>
  deliver(app, 'ReserveStock', { order_id, lines }, id);
const release = (order_id: string, id?: string) =>
  deliver(app, 'ReleaseStock', { order_id, reason: 'test' }, id);
const releasePart = (order_id: string, part: { id: string; lines: Line[] }, id?: string) =>
  deliver(app, 'ReleaseStock', { order_id, reason: 'test', part }, id);
const confirm = (order_id: string, id?: string) =>
  deliver(app, 'OrderConfirmed', { order_id, confirmed_at: '2026-03-14T09:26:53.589Z' }, id);

async function stockOf(sku: string) {
  const { body } = await callJson(app, 'GET', `/v1/stock/${sku}`);
  const { sku: _, ...counts } = body;
  return counts;
}

/** What inventory told the world about these orders, as `[order, type]`. */
async function answers(...orders: string[]) {
  return (await own.outbox()).filter(({ key }) => orders.includes(key)).map(({ key, type }) => [key, type]);
}

async function deadLetters(): Promise<string[]> {
  return (await own.eyes<{ detail: string }[]>`SELECT detail FROM dead_letter`).map((row) => row.detail);
}

describe('taking goods in', () => {
  test('adds them up, keeps the movement and tells of it', async () => {
    const [sku] = (await stocked(0)) as [string];
    expect(await stockOf(sku)).toEqual({ on_hand: 0, reserved: 0, committed: 0, received: 0 });
    const first = await receive([{ sku, quantity: 5 }]);
    await receive([{ sku, quantity: 2 }]);
    expect(await stockOf(sku)).toEqual({ on_hand: 7, reserved: 0, committed: 0, received: 7 });
    const { body } = await callJson(app, 'GET', `/v1/stock/${sku}/movements`);
    expect(body.items).toMatchObject([
      { kind: 'received', quantity: 5, receipt_id: first.body.id },
      { kind: 'received', quantity: 2 },
    ]);
    const told = (await own.outbox()).filter(({ key }) => key === first.body.id);
    expect(told).toMatchObject([{ type: 'StockReceived', data: { lines: [{ sku, quantity: 5 }] } }]);
  });

  test('once per key, also when asked ten times at once', async () => {
    const [sku] = (await stocked(0)) as [string];
    const key = uuidv7();
    const all = await Promise.all(Array.from({ length: 10 }, () => receive([{ sku, quantity: 3 }], key)));
    expect(all.filter((answer) => answer.status === 201)).toHaveLength(1);
    expect(all.filter((answer) => answer.headers.get('idempotency-replayed') === 'true')).toHaveLength(9);
    expect(new Set(all.map((answer) => answer.body.id)).size).toBe(1);
    expect(await stockOf(sku)).toMatchObject({ on_hand: 3, received: 3 });
    const other = await receive([{ sku, quantity: 4 }], key);
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused']);
  });

  test('of a delivery with an unknown product takes nothing, and leaves the key unused', async () => {
    const [sku] = (await stocked(1)) as [string];
    const key = uuidv7();
    const unknown = `T-${uuidv7()}`;
    const lines = [
      { sku, quantity: 1 },
      { sku: unknown, quantity: 1 },
    ];
    const refused = await receive(lines, key);
    expect([refused.status, refused.body.code]).toEqual([422, 'unknown_product']);
    expect(refused.body.errors).toMatchObject([{ pointer: '/lines/1/sku', code: 'unknown_product' }]);
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await stockOf(sku)).toMatchObject({ received: 1 });
    await deliver(app, 'ProductCreated', { sku: unknown });
    expect((await receive(lines, key)).status).toBe(201);
  });

  test('with a product on two lines is refused', async () => {
    const [sku] = (await stocked(0)) as [string];
    const refused = await receive([
      { sku, quantity: 1 },
      { sku, quantity: 1 },
    ]);
    expect([refused.status, refused.body.code]).toEqual([422, 'duplicate_line']);
    expect(refused.body.errors).toMatchObject([{ pointer: '/lines/1/sku' }]);
    expect(await stockOf(sku)).toMatchObject({ received: 0 });
  });
});

describe('the way of an order', () => {
  test('reserved, committed, released: pieces move and each movement is kept', async () => {
    const [sku] = (await stocked(10)) as [string];
    const order = newId('ord');
    await reserve(order, [{ sku, quantity: 4 }]);
    expect(await stockOf(sku)).toEqual({ on_hand: 6, reserved: 4, committed: 0, received: 10 });
    await confirm(order);
    expect(await stockOf(sku)).toEqual({ on_hand: 6, reserved: 0, committed: 4, received: 10 });
    await release(order);
    expect(await stockOf(sku)).toEqual({ on_hand: 10, reserved: 0, committed: 0, received: 10 });
    expect(await answers(order)).toEqual([
      [order, 'StockReserved'],
      [order, 'StockCommitted'],
      [order, 'StockReleased'],
    ]);
    const { body } = await callJson(app, 'GET', `/v1/stock/${sku}/movements`);
    expect(body.items.map((item: { kind: string; order_id?: string }) => [item.kind, item.order_id])).toEqual(
      [
        ['received', undefined],
        ['reserved', order],
        ['committed', order],
        ['released', order],
      ],
    );
  });

  test('all or nothing: one short line leaves the others on hand, and is named', async () => {
    const [enough, short] = (await stocked(5, 1)) as [string, string];
    const order = newId('ord');
    await reserve(order, [
      { sku: enough, quantity: 5 },
      { sku: short, quantity: 2 },
      { sku: 'NEVER-HEARD-OF', quantity: 1 },
    ]);
    expect(await stockOf(enough)).toMatchObject({ on_hand: 5, reserved: 0 });
    expect(await stockOf(short)).toMatchObject({ on_hand: 1, reserved: 0 });
    const [told] = (await own.outbox()).filter(({ key }) => key === order);
    expect(told).toMatchObject({
      type: 'StockRejected',
      data: {
        lines: [
          { sku: short, requested: 2, available: 1 },
          { sku: 'NEVER-HEARD-OF', requested: 1, available: 0 },
        ],
      },
    });
  });

  test('a delivery that comes twice, even at once, counts once', async () => {
    const [sku] = (await stocked(10)) as [string];
    const order = newId('ord');
    const id = uuidv7();
    const both = await Promise.all([1, 2, 3].map(() => reserve(order, [{ sku, quantity: 4 }], id)));
    expect(both.map((answer) => answer.status)).toEqual([200, 200, 200]);
    await reserve(order, [{ sku, quantity: 4 }]); // the same command in another message
    expect(await stockOf(sku)).toMatchObject({ on_hand: 6, reserved: 4 });
    expect(await answers(order)).toEqual([[order, 'StockReserved']]);
  });

  test('a release that overtakes its reservation is remembered', async () => {
    const [sku] = (await stocked(3)) as [string];
    const order = newId('ord');
    await release(order);
    await reserve(order, [{ sku, quantity: 3 }]);
    await confirm(order);
    expect(await stockOf(sku)).toEqual({ on_hand: 3, reserved: 0, committed: 0, received: 3 });
    expect(await answers(order)).toEqual([[order, 'StockReleased']]);
  });

  test('a release and its reservation at once end in the same place, whoever is first', async () => {
    const [sku] = (await stocked(20)) as [string];
    const orders = Array.from({ length: 10 }, () => newId('ord'));
    await Promise.all(orders.flatMap((order) => [reserve(order, [{ sku, quantity: 2 }]), release(order)]));
    expect(await stockOf(sku)).toEqual({ on_hand: 20, reserved: 0, committed: 0, received: 20 });
  });

  test('a release and a confirmation at once are taken one after the other', async () => {
    const [sku] = (await stocked(9)) as [string];
    const order = newId('ord');
    await reserve(order, [{ sku, quantity: 9 }]);
    const before = (await deadLetters()).length;
    const both: ReturnType<typeof release>[] = [];
    await own.eyes.begin(async (tx) => {
      await tx`SELECT 1 FROM stock WHERE sku = ${sku} FOR UPDATE`;
      both.push(confirm(order), release(order));
      await own.blocked(2);
    });
    await Promise.all(both);
    expect(await stockOf(sku)).toEqual({ on_hand: 9, reserved: 0, committed: 0, received: 9 });
    expect(await deadLetters()).toHaveLength(before);
  });

  test('a confirmation of what was never reserved is kept as a dead letter', async () => {
    const order = newId('ord');
    expect((await confirm(order)).status).toBe(200);
    expect(await deadLetters()).toContainEqual(expect.stringContaining('confirmed_without_reservation'));
    expect(await own.eyes`SELECT 1 FROM reservations WHERE order_id = ${order}`).toHaveLength(0);
  });
});

describe('a part of an order', () => {
  test('goes back from what is set aside, and from what is committed; the rest with the order', async () => {
    const [heart, lantern] = (await stocked(10, 10)) as [string, string];
    const order = newId('ord');
    await reserve(order, [
      { sku: heart, quantity: 4 },
      { sku: lantern, quantity: 1 },
    ]);
    await releasePart(order, { id: newId('amd'), lines: [{ sku: heart, quantity: 1 }] });
    expect(await stockOf(heart)).toEqual({ on_hand: 7, reserved: 3, committed: 0, received: 10 });
    await confirm(order);
    const back = [
      { sku: heart, quantity: 1 },
      { sku: lantern, quantity: 1 },
    ];
    await releasePart(order, { id: newId('rfd'), lines: back });
    expect(await stockOf(heart)).toEqual({ on_hand: 8, reserved: 0, committed: 2, received: 10 });
    expect(await stockOf(lantern)).toEqual({ on_hand: 10, reserved: 0, committed: 0, received: 10 });
    await release(order);
    expect(await stockOf(heart)).toEqual({ on_hand: 10, reserved: 0, committed: 0, received: 10 });

    const told = (await own.outbox()).filter(({ key }) => key === order);
    expect(told.map(({ type, data }) => [type, data.lines])).toEqual([
      ['StockReserved', expect.anything()],
      ['StockReleased', [{ sku: heart, quantity: 1 }]],
      [
        'StockCommitted',
        [
          { sku: heart, quantity: 3 },
          { sku: lantern, quantity: 1 },
        ],
      ],
      ['StockReleased', back],
      ['StockReleased', [{ sku: heart, quantity: 2 }]],
    ]);
    const { body } = await callJson(app, 'GET', `/v1/stock/${heart}/movements`);
    expect(
      body.items.map(({ kind, quantity }: { kind: string; quantity: number }) => [kind, quantity]),
    ).toEqual([
      ['received', 10],
      ['reserved', 4],
      ['released', 1],
      ['committed', 3],
      ['released', 1],
      ['released', 2],
    ]);
  });

  test('goes back once per id, also when asked five times at once', async () => {
    const [sku] = (await stocked(10)) as [string];
    const order = newId('ord');
    await reserve(order, [{ sku, quantity: 5 }]);
    const part = { id: newId('amd'), lines: [{ sku, quantity: 2 }] };
    const all = await Promise.all([1, 2, 3, 4, 5].map(() => releasePart(order, part)));
    expect(all.map((answer) => answer.status)).toEqual([200, 200, 200, 200, 200]);
    expect(await stockOf(sku)).toMatchObject({ on_hand: 7, reserved: 3 });
    expect(await answers(order)).toEqual([
      [order, 'StockReserved'],
      [order, 'StockReleased'],
    ]);
    const [row] = await own.eyes`SELECT lines, parts FROM reservations WHERE order_id = ${order}`;
    expect(row).toEqual({ lines: [{ sku, quantity: 3 }], parts: [part] });
  });

  test('that overtakes the reservation goes back as soon as that is made', async () => {
    const [sku] = (await stocked(10)) as [string];
    const order = newId('ord');
    const part = { id: newId('amd'), lines: [{ sku, quantity: 2 }] };
    await releasePart(order, part);
    await releasePart(order, part);
    expect(await answers(order)).toEqual([]);
    await reserve(order, [{ sku, quantity: 5 }]);
    expect(await stockOf(sku)).toEqual({ on_hand: 7, reserved: 3, committed: 0, received: 10 });
    expect(await answers(order)).toEqual([
      [order, 'StockReserved'],
      [order, 'StockReleased'],
    ]);
    await confirm(order);
    await releasePart(order, part);
    expect(await stockOf(sku)).toEqual({ on_hand: 7, reserved: 0, committed: 3, received: 10 });
  });

  test('of more than is left, or of other pieces under a known id, is kept as a dead letter and moves nothing', async () => {
    const [sku, other] = (await stocked(10, 10)) as [string, string];
    const order = newId('ord');
    await reserve(order, [{ sku, quantity: 3 }]);
    await releasePart(order, { id: 'a', lines: [{ sku, quantity: 2 }] });
    const before = await deadLetters();
    await releasePart(order, { id: 'b', lines: [{ sku, quantity: 2 }] });
    await releasePart(order, {
      id: 'c',
      lines: [
        { sku, quantity: 1 },
        { sku: other, quantity: 1 },
      ],
    });
    await releasePart(order, { id: 'a', lines: [{ sku, quantity: 1 }] });
    expect((await deadLetters()).slice(before.length)).toEqual([
      expect.stringContaining('more_than_left_to_release'),
      expect.stringContaining('more_than_left_to_release'),
      expect.stringContaining('part_released_differently'),
    ]);
    expect(await stockOf(sku)).toEqual({ on_hand: 9, reserved: 1, committed: 0, received: 10 });
    expect(await stockOf(other)).toMatchObject({ on_hand: 10 });
  });

  test('two that are more than is left, at once: one of them goes back', async () => {
    const [sku] = (await stocked(10)) as [string];
    const order = newId('ord');
    await reserve(order, [{ sku, quantity: 3 }]);
    const before = (await deadLetters()).length;
    const both: ReturnType<typeof release>[] = [];
    await own.eyes.begin(async (tx) => {
      await tx`SELECT 1 FROM reservations WHERE order_id = ${order} FOR UPDATE`;
      for (const id of ['a', 'b']) both.push(releasePart(order, { id, lines: [{ sku, quantity: 2 }] }));
      await own.blocked(2);
    });
    await Promise.all(both);
    expect(await stockOf(sku)).toEqual({ on_hand: 9, reserved: 1, committed: 0, received: 10 });
    expect(await deadLetters()).toHaveLength(before + 1);
  });

  test('more than is set aside of a product cannot go back even so: the CHECK holds the balance', async () => {
    const [sku] = (await stocked(10)) as [string];
    const order = newId('ord');
    await reserve(order, [{ sku, quantity: 3 }]);
    // As if somebody had changed the reservation by hand.
    await own.eyes`UPDATE reservations SET lines = ${own.eyes.json([{ sku, quantity: 9 }])} WHERE order_id = ${order}`;
    const before = (await deadLetters()).length;
    await releasePart(order, { id: 'a', lines: [{ sku, quantity: 4 }] });
    expect(await stockOf(sku)).toEqual({ on_hand: 7, reserved: 3, committed: 0, received: 10 });
    expect(await deadLetters()).toHaveLength(before + 1);
    expect((await deadLetters()).at(-1)).toContain('stock_reserved');
  });
});

/**
 * Eight orders for the last unit. Somebody holds the stock row until all of them have come as far as they can, so
 * the race is there each time and not now and then.
 */
async function eightForTheLastUnit() {
  const [sku] = (await stocked(1)) as [string];
  const orders = Array.from({ length: 8 }, () => newId('ord'));
  let delivered: ReturnType<typeof reserve>[] = [];
  await own.eyes.begin(async (tx) => {
    await tx`SELECT 1 FROM stock WHERE sku = ${sku} FOR UPDATE`;
    delivered = orders.map((order) => reserve(order, [{ sku, quantity: 1 }]));
    await own.blocked(8);
  });
  await Promise.all(delivered);
  const types = (await answers(...orders)).map(([, type]) => type);
  const reserved = types.filter((type) => type === 'StockReserved').length;
  const rejected = types.filter((type) => type === 'StockRejected').length;
  return { stock: await stockOf(sku), reserved, rejected };
}

describe('orders at once', () => {
  test('of eight for the last unit one gets it and seven are told no', async () => {
    const before = (await deadLetters()).length;
    expect(await eightForTheLastUnit()).toEqual({
      stock: { on_hand: 0, reserved: 1, committed: 0, received: 1 },
      reserved: 1,
      rejected: 7,
    });
    expect(await deadLetters()).toHaveLength(before);
  });

  test('control: without the row lock all eight see the unit, and only the CHECK stops seven of them, unanswered', async () => {
    const before = (await deadLetters()).length;
    vi.spyOn(PgSelectBase.prototype, 'for').mockReturnThis();
    const { reserved, rejected } = await eightForTheLastUnit();
    expect({ reserved, rejected }).toEqual({ reserved: 1, rejected: 0 });
    expect(await deadLetters()).toHaveLength(before + 7);
  });

  test('control: without lock and CHECK the unit is sold eight times', async () => {
    await own.eyes`ALTER TABLE stock DROP CONSTRAINT stock_on_hand`;
    vi.spyOn(PgSelectBase.prototype, 'for').mockReturnThis();
    try {
      expect(await eightForTheLastUnit()).toMatchObject({ stock: { on_hand: -7, reserved: 8 }, reserved: 8 });
    } finally {
      await own.eyes`ALTER TABLE stock ADD CONSTRAINT stock_on_hand CHECK (on_hand >= 0) NOT VALID`;
    }
  });

  test('with the same products in opposite order never wait for each other in a circle', async () => {
    const [a, b, c] = (await stocked(100, 100, 100)) as [string, string, string];
    const lines = [a, b, c].map((sku) => ({ sku, quantity: 1 }));
    const backwards = [...lines].reverse();
    const all = await Promise.all(
      Array.from({ length: 30 }, (_, i) => reserve(newId('ord'), i % 2 ? lines : backwards)),
    );
    expect(all.every((answer) => answer.status === 200)).toBe(true);
    for (const sku of [a, b, c]) expect(await stockOf(sku)).toMatchObject({ on_hand: 70, reserved: 30 });
  });
});

describe('the books', () => {
  /**
   * The messages about one order in any order, some twice; OrderConfirmed only after a StockReserved, as orders does. Once all of it has
   * gone back in parts, what is left to commit is nothing.
   */
  const history = fc.record({
    lines: fc.uniqueArray(fc.record({ sku: fc.nat({ max: 3 }), quantity: fc.integer({ min: 1, max: 4 }) }), {
      selector: (line) => line.sku,
      minLength: 1,
      maxLength: 4,
    }),
    messages: fc.array(
      fc.constantFrom('reserve', 'reserve', 'confirm', 'confirm', 'part', 'part', 'release', 'again'),
      { minLength: 1, maxLength: 8 },
    ),
    // How many pieces of each line go back with a part.
    parts: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 4, maxLength: 4 }),
  });
  const histories = fc.array(history, { minLength: 1, maxLength: 8 });

  async function play(
    skus: string[],
    { lines, messages, parts }: typeof history extends fc.Arbitrary<infer H> ? H : never,
  ) {
    const order = newId('ord');
    const wanted = lines.map(({ sku, quantity }) => ({ sku: skus[sku] as string, quantity }));
    let last = () => reserve(order, wanted);
    // Two parts at most, which together are no more than the order has: the second is what the first has left.
    const first = wanted.flatMap((line, i) => {
      const quantity = Math.min(line.quantity, parts[i] ?? 0);
      return quantity > 0 ? [{ ...line, quantity }] : [];
    });
    const second = wanted.flatMap((line) => {
      const quantity = line.quantity - (first.find(({ sku }) => sku === line.sku)?.quantity ?? 0);
      return quantity > 0 ? [{ ...line, quantity }] : [];
    });
    const released = [first, second].flatMap((some, i) =>
      some.length > 0 ? [{ id: `part-${i}`, lines: some }] : [],
    );
    let turn = 0;
    for (const message of messages) {
      const id = uuidv7();
      if (message === 'reserve') last = () => reserve(order, wanted, id);
      if (message === 'release') last = () => release(order, id);
      if (message === 'part') {
        const part = released[turn++ % released.length] as (typeof released)[number];
        last = () => releasePart(order, part, id);
      }
      if (message === 'confirm') {
        if (!(await answers(order)).some(([, type]) => type === 'StockReserved')) continue;
        last = () => confirm(order, id);
      }
      expect((await last()).status).toBe(200);
    }
  }

  test('add up after any number of orders at once, in any order of messages, with duplicates', async () => {
    const before = (await deadLetters()).length;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat({ max: 25 }), { minLength: 4, maxLength: 4 }),
        histories,
        async (start, plays) => {
          const skus = await stocked(...start);
          await Promise.all(plays.map((each) => play(skus, each)));
          for (const [i, sku] of skus.entries()) {
            const counts = await stockOf(sku);
            expect(counts.received).toBe(start[i]);
            expect(counts.received).toBe(counts.on_hand + counts.reserved + counts.committed);
            expect(counts).toEqual(await fromMovements(sku));
            expect(counts).toMatchObject(await fromReservations(sku));
          }
        },
      ),
      { numRuns: 25, seed },
    );
    expect(await deadLetters()).toHaveLength(before);
  });

  /** The counts of a SKU, from its movements alone. */
  async function fromMovements(sku: string) {
    const counts = { on_hand: 0, reserved: 0, committed: 0, received: 0 };
    const where = new Map<string, 'reserved' | 'committed'>();
    let cursor = '';
    do {
      const { body } = await callJson(app, 'GET', `/v1/stock/${sku}/movements?limit=2${cursor}`);
      for (const { kind, quantity, order_id } of body.items) {
        if (kind === 'received') {
          counts.received += quantity;
          counts.on_hand += quantity;
        } else if (kind === 'reserved') {
          counts.on_hand -= quantity;
          counts.reserved += quantity;
          where.set(order_id, 'reserved');
        } else if (kind === 'committed') {
          counts.reserved -= quantity;
          counts.committed += quantity;
          where.set(order_id, 'committed');
        } else {
          counts[where.get(order_id) as 'reserved' | 'committed'] -= quantity;
          counts.on_hand += quantity;
        }
      }
      cursor = body.next_cursor ? `&cursor=${body.next_cursor}` : '';
    } while (cursor !== '');
    return counts;
  }

  /** What is set aside and what is committed of a SKU, from the orders. */
  async function fromReservations(sku: string) {
    const [row] = await own.eyes<{ reserved: number; committed: number }[]>`
      SELECT coalesce(sum(l.quantity) FILTER (WHERE r.status = 'reserved'), 0)::int AS reserved,
             coalesce(sum(l.quantity) FILTER (WHERE r.status = 'committed'), 0)::int AS committed
      FROM reservations r, jsonb_to_recordset(r.lines) AS l(sku text, quantity int) WHERE l.sku = ${sku}`;
    return row as object;
  }
});

describe('lists', () => {
  test('stock by SKU, page by page', async () => {
    await stocked(1, 1, 1);
    const seen: string[] = [];
    let cursor = '';
    do {
      const { body } = await callJson(app, 'GET', `/v1/stock?limit=2${cursor}`);
      seen.push(...body.items.map((item: { sku: string }) => item.sku));
      cursor = body.next_cursor ? `&cursor=${body.next_cursor}` : '';
    } while (cursor !== '');
    const all = await own.eyes<{ sku: string }[]>`SELECT sku FROM stock ORDER BY sku`;
    expect(seen).toEqual(all.map((row) => row.sku));
  });

  test('a product that nobody told of is not found', async () => {
    for (const path of ['/v1/stock/NOPE', '/v1/stock/NOPE/movements'])
      expect(await callJson(app, 'GET', path)).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });

  test('a cursor of another list is refused', async () => {
    const [sku] = (await stocked(1)) as [string];
    const { body } = await callJson(app, 'GET', '/v1/stock?limit=1');
    const wrong = await callJson(app, 'GET', `/v1/stock/${sku}/movements?cursor=${body.next_cursor}`);
    expect([wrong.status, wrong.body.errors[0].pointer]).toEqual([422, 'query:cursor']);
  });
});
