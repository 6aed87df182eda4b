import { type Catalog, catalog } from '@sidecart/contracts/catalog';
import { newId, uuidv7 } from '@sidecart/kit/ids';
import { ProblemError } from '@sidecart/kit/problem';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createDelayedRelease } from '@sidecart/messaging/delayed';
import { createLocalWorker } from '@sidecart/messaging/local-worker';
import { createOutbox, type Outbox } from '@sidecart/messaging/outbox';
import { PgSelectBase } from 'drizzle-orm/pg-core';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from 'vitest';
import { deliver, type ServiceDatabase, serviceDatabase } from '../../../tests/service-fixture.ts';
import { createOrdersApp } from './app.ts';
import type { GetQuotes } from './quotes.ts';
import { messagesToItself, subscriptions } from './subscriptions.ts';

const gbp = (amount: number) => ({ amount, currency: 'GBP' as const });
const line = (sku: string, quantity: number, amount: number) => ({ sku, quantity, unit_price: gbp(amount) });

let own: ServiceDatabase;
let outbox: Outbox<Catalog>;
let app: ReturnType<typeof createOrdersApp>;
let prices: Record<string, number>;
let getQuotes: ReturnType<typeof vi.fn<GetQuotes>>;

const clock = () => new Date('2026-03-14T09:26:53.589Z');

function appWith(useOutbox: Outbox<Catalog>, orderTimeoutMs = 15 * 60_000) {
  const deps = testDeps('orders');
  const { database } = own;
  const consumer = createConsumer({ ...deps, database, topics: subscriptions(useOutbox, clock) });
  return createOrdersApp(deps, {
    database,
    outbox: useOutbox,
    getQuotes,
    clock,
    orderTimeoutMs,
    consumer,
  });
}

beforeAll(async () => {
  own = await serviceDatabase('orders');
  const owns = ['orders', 'commands.inventory'];
  const handles = () => ({ ordered: true });
  outbox = createOutbox({ service: 'orders', catalog, owns, handles });
});
beforeEach(() => {
  prices = { HEART: 255, LANTERN: 1000 };
  getQuotes = vi.fn<GetQuotes>(async (skus) =>
    skus.flatMap((sku) => {
      const amount = prices[sku];
      return amount === undefined ? [] : [{ sku, status: 'active' as const, unitPrice: gbp(amount) }];
    }),
  );
  app = appWith(outbox);
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => own?.close());

const body = { customer_id: '17850', lines: [line('HEART', 3, 255), line('LANTERN', 2, 1000)] };

function place(o: { key?: string; body?: object; actor?: string; through?: typeof app } = {}) {
  return callJson(o.through ?? app, 'POST', '/v1/orders', o.body ?? body, {
    'idempotency-key': o.key ?? uuidv7(),
    ...(o.actor !== undefined && { 'x-sidecart-actor': o.actor }),
  });
}

async function placed(through = app): Promise<string> {
  const answer = await place({ through });
  expect(answer.status).toBe(201);
  return answer.body.id;
}

const cancel = (id: string, reason?: object) => callJson(app, 'POST', `/v1/orders/${id}/cancel`, reason);
const stockReserved = (order_id: string, id?: string) =>
  deliver(app, 'StockReserved', { order_id, lines: [] }, id);
const short = [{ sku: 'HEART', requested: 3, available: 1 }];
const stockRejected = (order_id: string) => deliver(app, 'StockRejected', { order_id, lines: short });
const statusOf = async (id: string) => (await callJson(app, 'GET', `/v1/orders/${id}`)).body.status;

/** What orders sent about one order, in order. */
async function told(id: string) {
  return (await own.outbox()).filter(({ key }) => key === id);
}
const typesTold = async (id: string) => (await told(id)).map(({ type }) => type);

async function stored() {
  const [row] = await own.eyes<Record<string, number>[]>`
    SELECT (SELECT count(*) FROM orders)::int AS orders, (SELECT count(*) FROM order_lines)::int AS lines,
           (SELECT count(*) FROM outbox)::int AS outbox, (SELECT count(*) FROM outbox_delayed)::int AS delayed,
           (SELECT count(*) FROM idempotency_key)::int AS keys`;
  return row;
}

describe('placing', () => {
  test('stores the order, tells of it and asks for its stock', async () => {
    const answer = await place();
    const { id } = answer.body;
    expect(answer.status).toBe(201);
    expect(answer.headers.get('location')).toBe(`/v1/orders/${id}`);
    const order = {
      id,
      status: 'placed',
      customer_id: '17850',
      lines: [
        { sku: 'HEART', quantity: 3, unit_price: gbp(255), line_total: gbp(765) },
        { sku: 'LANTERN', quantity: 2, unit_price: gbp(1000), line_total: gbp(2000) },
      ],
      total: gbp(2765),
      placed_at: '2026-03-14T09:26:53.589Z',
      updated_at: '2026-03-14T09:26:53.589Z',
    };
    expect(answer.body).toEqual(order);
    expect((await callJson(app, 'GET', `/v1/orders/${id}`)).body).toEqual(order);
    expect(await told(id)).toMatchObject([
      {
        topic: 'orders',
        type: 'OrderPlaced',
        data: { order_id: id, total: gbp(2765), customer_id: '17850' },
      },
      {
        topic: 'commands.inventory',
        type: 'ReserveStock',
        data: {
          order_id: id,
          lines: [
            { sku: 'HEART', quantity: 3 },
            { sku: 'LANTERN', quantity: 2 },
          ],
        },
      },
    ]);
  });

  test('five hundred lines', async () => {
    const skus = Array.from({ length: 500 }, (_, i) => `S-${i}`);
    prices = Object.fromEntries(skus.map((sku) => [sku, 100]));
    const answer = await place({ body: { lines: skus.map((sku) => line(sku, 1, 100)) } });
    expect(answer.status).toBe(201);
    const read = await callJson(app, 'GET', `/v1/orders/${answer.body.id}`);
    expect(read.body.lines.map((each: { sku: string }) => each.sku)).toEqual(skus);
    expect(read.body.total).toEqual(gbp(50_000));
  });

  const faults: [string, () => void, object, number, string, string?][] = [
    [
      'a changed price',
      () => Object.assign(prices, { HEART: 295 }),
      body,
      409,
      'price_changed',
      '/lines/0/unit_price',
    ],
    ['an unknown product', () => delete prices.LANTERN, body, 422, 'unknown_product', '/lines/1/sku'],
    [
      'products away',
      () =>
        getQuotes.mockRejectedValueOnce(new ProblemError('products_unavailable', { retryAfterSeconds: 1 })),
      body,
      503,
      'products_unavailable',
    ],
    [
      'a product on two lines',
      () => {},
      { lines: [line('HEART', 1, 255), line('HEART', 1, 255)] },
      422,
      'duplicate_line',
      '/lines/1/sku',
    ],
  ];
  test.each(faults)(
    '%s stores nothing and leaves the key unused',
    async (_, spoil, request, status, code, pointer) => {
      const before = await stored();
      const key = uuidv7();
      spoil();
      const refused = await place({ key, body: request });
      expect([refused.status, refused.body.code]).toEqual([status, code]);
      expect(refused.body.errors?.[0]?.pointer).toBe(pointer);
      if (status === 503) expect(refused.headers.get('retry-after')).toBe('1');
      expect(await stored()).toEqual(before);

      prices = { HEART: 255, LANTERN: 1000 };
      expect((await place({ key })).status).toBe(201);
    },
  );

  test('a product on two lines costs no question to products', async () => {
    await place({ body: { lines: [line('HEART', 1, 255), line('HEART', 1, 255)] } });
    expect(getQuotes).not.toHaveBeenCalled();
  });
});

describe('the same key', () => {
  test('with the same body gives the same order as it is now, also when products does not answer', async () => {
    const key = uuidv7();
    const first = await place({ key });
    await stockReserved(first.body.id);
    getQuotes.mockReturnValueOnce(new Promise(() => {}));
    const again = await place({ key, body: { lines: body.lines, customer_id: '17850' } });
    expect(again.status).toBe(200);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.body).toMatchObject({ id: first.body.id, status: 'confirmed' });
  });

  test('with another body is refused', async () => {
    const key = uuidv7();
    await place({ key });
    const other = await place({ key, body: { ...body, customer_id: '1' } });
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused']);
  });

  test('of another actor is another key', async () => {
    const key = uuidv7();
    const mine = await place({ key, actor: 'ann' });
    const yours = await place({ key, actor: 'bob' });
    expect([mine.status, yours.status]).toEqual([201, 201]);
    expect(mine.body.id).not.toBe(yours.body.id);
  });

  test('ten times at once makes one order', async () => {
    const before = await stored();
    const key = uuidv7();
    const all = await Promise.all(Array.from({ length: 10 }, () => place({ key })));
    expect(all.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(all.filter(({ headers }) => headers.get('idempotency-replayed') === 'true')).toHaveLength(9);
    expect(new Set(all.map((answer) => answer.body.id)).size).toBe(1);
    expect(await stored()).toEqual({
      orders: (before?.orders ?? 0) + 1,
      lines: (before?.lines ?? 0) + 2,
      outbox: (before?.outbox ?? 0) + 2,
      delayed: (before?.delayed ?? 0) + 1,
      keys: (before?.keys ?? 0) + 1,
    });
  });

  test('at once with two bodies makes one order and refuses the other', async () => {
    const key = uuidv7();
    const both = await Promise.all([place({ key }), place({ key, body: { ...body, customer_id: '1' } })]);
    expect(both.map(({ status }) => status).sort()).toEqual([201, 422]);
  });
});

describe('one transaction', () => {
  /** Fails when all that placing does is done. */
  const broken = (through: Outbox<Catalog>): Outbox<Catalog> => ({
    ...through,
    send: async (tx, ...commands) => {
      await through.send(tx, ...commands);
      throw new Error('the last step fails');
    },
  });

  test('holds key, order, fact, command and deadline: when the last fails there is none of them', async () => {
    const before = await stored();
    const answer = await place({ through: appWith(broken(outbox)) });
    expect([answer.status, answer.body.code]).toEqual([500, 'internal']);
    expect(await stored()).toEqual(before);
  });

  test('control: an outbox that writes outside of it tells the world of an order that does not exist', async () => {
    const before = await stored();
    let told = Promise.resolve();
    const outside: Outbox<Catalog> = {
      ...outbox,
      publish: (_tx, ...facts) => {
        told = own.database.db.transaction((other) => outbox.publish(other, ...facts));
        return told;
      },
    };
    await place({ through: appWith(broken(outside)) });
    await told;
    expect(await stored()).toEqual({ ...before, outbox: (before?.outbox ?? 0) + 1 });
  });

  test('control: a deadline that is written outside of it is there without its order', async () => {
    const before = await stored();
    let sent = Promise.resolve();
    const outside: Outbox<Catalog> = {
      ...outbox,
      send(tx, ...commands) {
        if (commands.every(({ type }) => type !== 'CancelOverdueOrder')) return outbox.send(tx, ...commands);
        sent = own.database.db.transaction((other) => outbox.send(other, ...commands));
        return sent;
      },
    };
    await place({ through: appWith(broken(outside)) });
    await sent;
    expect(await stored()).toEqual({ ...before, delayed: (before?.delayed ?? 0) + 1 });
  });
});

describe('what inventory answers', () => {
  test('all set aside: confirmed, once, however often it is said', async () => {
    const id = await placed();
    const message = uuidv7();
    await Promise.all([1, 2, 3].map(() => stockReserved(id, message)));
    await stockReserved(id);
    expect(await statusOf(id)).toBe('confirmed');
    expect(await typesTold(id)).toEqual(['OrderPlaced', 'ReserveStock', 'OrderConfirmed']);
  });

  test('short: rejected, naming the lines at fault', async () => {
    const id = await placed();
    await stockRejected(id);
    const { body: order } = await callJson(app, 'GET', `/v1/orders/${id}`);
    expect(order).toMatchObject({ status: 'rejected', rejection: { reason: 'out_of_stock', lines: short } });
    expect((await told(id)).at(-1)).toMatchObject({
      type: 'OrderRejected',
      data: { order_id: id, reason: 'out_of_stock', lines: short },
    });
  });

  test('too late for a cancelled order: ignored', async () => {
    const id = await placed();
    await cancel(id, {});
    expect((await stockReserved(id)).status).toBe(200);
    expect(await statusOf(id)).toBe('cancelled');
    expect((await told(id)).at(-1)?.type).toBe('ReleaseStock');
  });

  test('both ways, or for an order that nobody placed: kept as a dead letter', async () => {
    const id = await placed();
    await stockReserved(id);
    const nobody = newId('ord');
    for (const answer of [await stockRejected(id), await stockReserved(nobody)])
      expect(answer.status).toBe(200);
    expect(await statusOf(id)).toBe('confirmed');
    const dead = await own.eyes<{ about: string }[]>`
      SELECT msg_key || ': ' || detail AS about FROM dead_letter ORDER BY id`;
    expect(dead.map(({ about }) => about)).toEqual([
      expect.stringContaining(`${id}: order_already_decided`),
      expect.stringContaining(`${nobody}: not_found`),
    ]);
  });
});

describe('cancelling', () => {
  test('tells of it and has the stock released; again changes nothing', async () => {
    const id = await placed();
    await stockReserved(id);
    const answer = await cancel(id, { reason: 'wrong size' });
    expect(answer.body).toMatchObject({ id, status: 'cancelled', cancellation: { reason: 'wrong size' } });
    expect((await cancel(id)).status).toBe(200);
    expect((await told(id)).slice(3)).toMatchObject([
      { topic: 'orders', type: 'OrderCancelled', data: { order_id: id, reason: 'wrong size' } },
      { topic: 'commands.inventory', type: 'ReleaseStock', data: { order_id: id } },
    ]);
  });

  test('a rejected order is refused', async () => {
    const id = await placed();
    await stockRejected(id);
    const answer = await cancel(id, {});
    expect([answer.status, answer.body.code]).toEqual([409, 'order_not_cancellable']);
  });

  test('an unknown order is not found', async () => {
    expect(await cancel(newId('ord'), {})).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });

  /** A cancellation and a rejection that have both come as far as they can before either may go on. */
  async function cancelWhileRejected(): Promise<string[]> {
    const id = await placed();
    const both: Promise<unknown>[] = [];
    await own.eyes.begin(async (tx) => {
      await tx`SELECT 1 FROM orders WHERE id = ${id} FOR UPDATE`;
      // One after the other: who waits first goes on first.
      both.push(cancel(id, {}));
      await own.blocked(1);
      both.push(stockRejected(id));
      await own.blocked(2);
    });
    await Promise.all(both);
    return (await typesTold(id)).slice(2);
  }

  test('while inventory rejects has one outcome', async () => {
    expect(['OrderRejected', 'OrderCancelled,ReleaseStock']).toContain(`${await cancelWhileRejected()}`);
  });

  test('control: without the row lock the order is both cancelled and rejected', async () => {
    vi.spyOn(PgSelectBase.prototype, 'for').mockReturnThis();
    expect((await cancelWhileRejected()).sort()).toEqual(['OrderCancelled', 'OrderRejected', 'ReleaseStock']);
  });
});

describe('an order that inventory does not answer in time', () => {
  /** What brings a message to oneself when it is due, as createMessaging has it. */
  async function work(): Promise<void> {
    const deps = { ...testDeps('orders'), database: own.database };
    const worker = createLocalWorker({ ...deps, handlers: messagesToItself(outbox, clock), pollMs: 20 });
    const delayed = createDelayedRelease({ ...deps, pollMs: 20, onReleased: worker.nudge });
    await worker.start();
    onTestFinished(worker.stop);
    await delayed.start();
    onTestFinished(delayed.stop);
  }
  const impatient = () => appWith(outbox, 200);

  /** Waits until the deadline of this order has been handled. */
  const due = (id: string) =>
    vi.waitFor(
      async () => {
        const waiting = await own.eyes`
          SELECT FROM outbox_delayed WHERE msg_key = ${id} UNION ALL SELECT FROM outbox_local WHERE msg_key = ${id}`;
        expect(waiting).toHaveLength(0);
      },
      { timeout: 15_000, interval: 20 },
    );
  const now = (id: string) =>
    own.database.db.transaction((tx) =>
      outbox.send(tx, { type: 'CancelOverdueOrder', data: { order_id: id } }),
    );
  const reason = 'no stock was set aside in time';

  test('has its deadline from the transaction that placed it', async () => {
    const id = await placed();
    const [row] = await own.eyes`
      SELECT d.xmin = o.xmin AS together, d.type, d.topic, d.payload AS data,
             extract(epoch FROM d.due_at - clock_timestamp())::float8 AS seconds
      FROM outbox_delayed d JOIN orders o ON o.id = d.msg_key WHERE o.id = ${id}`;
    expect(row).toEqual({
      together: true,
      type: 'CancelOverdueOrder',
      topic: 'self',
      data: { order_id: id },
      seconds: expect.closeTo(15 * 60, -2),
    });
  });

  test('is cancelled, and what was or will be set aside for it released; what comes afterwards changes nothing', async () => {
    const id = await placed(impatient());
    await work();
    await due(id);
    const { body: order } = await callJson(app, 'GET', `/v1/orders/${id}`);
    expect(order).toMatchObject({ status: 'cancelled', cancellation: { reason } });
    const types = ['OrderPlaced', 'ReserveStock', 'OrderCancelled', 'ReleaseStock'];
    expect(await typesTold(id)).toEqual(types);
    expect((await told(id))[2]).toMatchObject({ data: { order_id: id, reason } });

    expect((await stockReserved(id)).status).toBe(200);
    await cancel(id, { reason: 'too slow' });
    await now(id);
    await due(id);
    expect(await typesTold(id)).toEqual(types);
  });

  test('control: before its time it stays placed', async () => {
    const [overdue, waiting] = [await placed(impatient()), await placed()];
    await work();
    await due(overdue);
    expect([await statusOf(overdue), await statusOf(waiting)]).toEqual(['cancelled', 'placed']);
  });

  test.each<[string, (id: string) => Promise<unknown>, string[]]>([
    ['confirmed', stockReserved, ['OrderConfirmed']],
    ['rejected', stockRejected, ['OrderRejected']],
    ['cancelled', (id) => cancel(id, { reason: 'wrong size' }), ['OrderCancelled', 'ReleaseStock']],
  ])('one that was %s in time stays as it is', async (status, decide, types) => {
    const id = await placed(impatient());
    await decide(id);
    await work();
    await due(id);
    expect(await statusOf(id)).toBe(status);
    expect(await typesTold(id)).toEqual(['OrderPlaced', 'ReserveStock', ...types]);
    expect(await own.eyes`SELECT FROM dead_letter WHERE msg_key = ${id}`).toHaveLength(0);
  });

  test('while the answer comes has one outcome', async () => {
    const id = await placed();
    await work();
    let answer: Promise<unknown> = Promise.resolve();
    await own.eyes.begin(async (tx) => {
      await tx`SELECT 1 FROM orders WHERE id = ${id} FOR UPDATE`;
      await now(id);
      await own.blocked(1);
      answer = stockReserved(id);
      await own.blocked(2);
    });
    await answer;
    const types = ['OrderPlaced', 'ReserveStock', 'OrderCancelled', 'ReleaseStock'];
    await vi.waitFor(async () => expect(await typesTold(id)).toEqual(types));
  });
});

test('the list is newest first, page by page, and by status', async () => {
  for (let i = 0; i < 3; i++) await stockReserved(await placed());
  const seen: { id: string; status: string }[] = [];
  let cursor = '';
  do {
    const { body: page } = await callJson(app, 'GET', `/v1/orders?status=confirmed&limit=2${cursor}`);
    seen.push(...page.items);
    cursor = page.next_cursor ? `&cursor=${page.next_cursor}` : '';
  } while (cursor !== '');
  expect(new Set(seen.map(({ status }) => status))).toEqual(new Set(['confirmed']));
  const all = await own.eyes<{ id: string }[]>`
    SELECT id FROM orders WHERE status = 'confirmed' ORDER BY placed_at DESC, id DESC`;
  expect(seen.map(({ id }) => id)).toEqual(all.map(({ id }) => id));
});
