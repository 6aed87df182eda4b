import { connectDatabase, type Database, type Transaction } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { seed } from '../../../tests/seed.ts';
import { type Consumer, createConsumer } from './consumer.ts';
import { PermanentError } from './failures.ts';
import { eventually, type Fixture, openFixture, pause } from './fixture.ts';
import { type Handler, on } from './handler.ts';
import { pass } from './key-order.ts';
import { delivery } from './testing.ts';

const Data = z.object({ key: z.string(), n: z.int() });

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('consumer_order');
  await fixture.admin`CREATE TABLE applied (id bigint GENERATED ALWAYS AS IDENTITY, key text, n int, type text)`;
  await fixture.admin`GRANT ALL ON applied TO PUBLIC`;
});
beforeEach(async () => {
  await fixture.clear();
  await fixture.admin`TRUNCATE applied`;
});
afterAll(() => fixture?.close());

/** `Step` wants the order, `Note` does not; n = 13 can never be handled, and whatever `away` holds cannot be handled now. */
function replica(
  o: {
    away?: Set<number>;
    handlerTimeoutMs?: number;
    ordered?: boolean;
    database?: Database;
    /** What a handler waits for. */
    during?: (key: string, tx: Transaction) => Promise<unknown>;
  } = {},
) {
  const handler = (type: string, ordered: boolean): Handler =>
    on(
      Data,
      async (tx, { data }) => {
        await tx.execute(sql`INSERT INTO applied (key, n, type) VALUES (${data.key}, ${data.n}, ${type})`);
        await o.during?.(data.key, tx);
        if (data.n === 13) throw new PermanentError('thirteen');
        if (o.away?.has(data.n)) throw Object.assign(new Error('not now'), { code: '40001' });
      },
      { ordered },
    );
  const deps = testDeps('inventory');
  const consumer = createConsumer({
    ...deps,
    database: o.database ?? fixture.database,
    sweepMs: 50,
    ...(o.handlerTimeoutMs !== undefined && { handlerTimeoutMs: o.handlerTimeoutMs }),
    topics: {
      orders: {
        kind: 'fact',
        handlers: { Step: handler('Step', o.ordered ?? true), Note: handler('Note', false) },
      },
    },
  });
  return { ...deps, consumer };
}

const idOf = (key: string, n: number) => `${key}-${n}`;
const send = (consumer: Consumer, key: string, n: number, type = 'Step') =>
  consumer.receive(
    'orders',
    new TextEncoder().encode(delivery(type, { key, n }, { id: idOf(key, n), key, sequence: n })),
    {},
  );
const applied = async (key = 'k', type = 'Step') =>
  (
    await fixture.admin<
      { n: number }[]
    >`SELECT n FROM applied WHERE key = ${key} AND type = ${type} ORDER BY id`
  ).map(({ n }) => n);
const keyState = async (key = 'k') => {
  const [row] = await fixture.admin<{ last: number; waiting: number; parked: number }[]>`
    SELECT last_seq::int AS last, waiting, (SELECT count(*) FROM inbox_parked p WHERE p.msg_key = k.msg_key)::int AS parked
    FROM inbox_key k WHERE msg_key = ${key}`;
  return row;
};
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('messages of a key, for a handler that wants the order', () => {
  test('come to it in the order of sending, whatever the order of delivery, each once', async () => {
    const { consumer } = replica();
    for (const n of [3, 5, 2, 3, 4]) expect(await send(consumer, 'k', n)).toBe('done');
    expect(await applied()).toEqual([]);
    expect(await keyState()).toEqual({ last: 0, waiting: 4, parked: 4 });
    await send(consumer, 'k', 1);
    await eventually(async () => expect(await applied()).toEqual([1, 2, 3, 4, 5]));
    for (const n of [1, 3, 5]) await send(consumer, 'k', n);
    expect(await applied()).toEqual([1, 2, 3, 4, 5]);
    expect(await keyState()).toEqual({ last: 5, waiting: 0, parked: 0 });
  });

  test('control: for one that does not ask for it they come as they are delivered', async () => {
    const { consumer } = replica({ ordered: false });
    for (const n of [3, 1, 2]) await send(consumer, 'k', n);
    expect(await applied()).toEqual([3, 1, 2]);
  });

  test('of which one is a command that this version has no handler for: a dead letter, though a newer version kept it', async () => {
    const topic = 'commands.inventory';
    const version = (...types: string[]) => {
      const handlers = Object.fromEntries(
        types.map((type) => [type, on(Data, async () => {}, { ordered: true })]),
      );
      const topics = { [topic]: { kind: 'command' as const, handlers } };
      return createConsumer({ ...testDeps('inventory'), database: fixture.database, topics });
    };
    const receive = (consumer: Consumer, type: string, n: number) =>
      consumer.receive(
        topic,
        new TextEncoder().encode(
          delivery(type, { key: 'k', n }, { id: idOf('k', n), key: 'k', sequence: n }),
        ),
        {},
      );
    await receive(version('Step', 'New'), 'New', 2);
    await receive(version('Step'), 'Step', 1); // rolled back
    await eventually(async () =>
      expect(await fixture.admin`SELECT event_id, reason FROM dead_letter`).toEqual([
        { event_id: 'k-2', reason: 'unknown_type' },
      ]),
    );
  });

  test('do not hold up another key', async () => {
    const { consumer } = replica();
    await send(consumer, 'k', 2);
    await send(consumer, 'other', 1);
    expect(await applied('other')).toEqual([1]);
  });

  test('pass by those that nobody wants in order, which are handled at once', async () => {
    const { consumer } = replica();
    await send(consumer, 'k', 3, 'Note');
    await send(consumer, 'k', 4);
    await send(consumer, 'k', 2, 'Unheard');
    expect([await applied('k', 'Note'), await applied()]).toEqual([[3], []]);
    await send(consumer, 'k', 1);
    await eventually(async () => expect(await applied()).toEqual([1, 4]));
    expect(await applied('k', 'Note')).toEqual([3]);
    expect(await keyState()).toEqual({ last: 4, waiting: 0, parked: 0 });
  });

  test('over two replicas at once: in order, each once', async () => {
    const twice = [...range(1, 12), ...range(1, 12)];
    const order = fc.shuffledSubarray(twice, { minLength: twice.length });
    await fc.assert(
      fc.asyncProperty(order, async (shuffled) => {
        await fixture.clear();
        await fixture.admin`TRUNCATE applied`;
        const replicas = [replica().consumer, replica().consumer] as const;
        await Promise.all(shuffled.map((n, i) => send(replicas[i % 2 ? 0 : 1], 'k', n)));
        await replicas[0].drain({ topic: 'orders', sender: 'test', key: 'k' });
        await eventually(async () => expect(await applied()).toEqual(range(1, 12)));
      }),
      { seed, numRuns: 10 },
    );
  });

  test('one that waited and whose handler takes too long does not keep the sweep from other keys', async () => {
    let hanging = false;
    const away = new Set([3]);
    const { consumer, metrics } = replica({
      away,
      handlerTimeoutMs: 200,
      // At work all the time: the server ends nothing of it.
      async during(key, tx) {
        while (hanging && key === 'slow') {
          await tx.execute(sql`SELECT 1`);
          await pause(20);
        }
      },
    });
    for (const key of ['slow', 'other']) for (const n of [3, 1, 2]) await send(consumer, key, n);
    await pause(200); // each has tried the third by itself
    hanging = true;
    await consumer.worker.start();
    onTestFinished(consumer.worker.stop);
    try {
      await pause(500); // the sweep has come to both
      away.clear();
      await eventually(async () => expect(await applied('other')).toEqual([1, 2, 3]));
      expect(await applied('slow')).toEqual([1, 2]);
      expect(await metrics.registry.metrics()).toMatch(
        /sidecart_inbox_handled_total\{topic="orders",type="Step",outcome="retry"/,
      );
    } finally {
      hanging = false;
    }
    await eventually(async () => expect(await applied('slow')).toEqual([1, 2, 3]));
  });

  test('one that cannot be handled now keeps its place, and what waits goes on when it can', async () => {
    const away = new Set([2]);
    const { consumer } = replica({ away });
    await consumer.worker.start();
    onTestFinished(consumer.worker.stop);
    await send(consumer, 'k', 2);
    await send(consumer, 'k', 3);
    await send(consumer, 'k', 1);
    await pause(200);
    expect(await applied()).toEqual([1]);
    away.clear();
    await eventually(async () => expect(await applied()).toEqual([1, 2, 3]));
  });

  test('what an end of the process left waiting is found', async () => {
    const first = replica();
    await send(first.consumer, 'k', 2);
    // The first message commits, and the process ends before it looks what waits behind.
    await fixture.admin`UPDATE inbox_key SET last_seq = 1`;
    const { consumer } = replica();
    await consumer.worker.start();
    onTestFinished(consumer.worker.stop);
    await eventually(async () => expect(await applied()).toEqual([2]));
  });

  test('a dead letter holds its key, and nothing else', async () => {
    const { consumer, health } = replica();
    await consumer.worker.start();
    onTestFinished(consumer.worker.stop);
    for (const n of [14, 13, ...range(1, 12)]) await send(consumer, 'k', n);
    await send(consumer, 'other', 1);
    await eventually(async () => expect(await keyState()).toEqual({ last: 12, waiting: 1, parked: 1 }));
    expect([await applied(), await applied('other')]).toEqual([range(1, 12), [1]]);
    expect(await fixture.admin`SELECT reason, holds_key, key_seq::int AS seq FROM dead_letter`).toMatchObject(
      [{ reason: 'invariant', holds_key: true, seq: 13 }],
    );
    // Delivered once more, it still does.
    await send(consumer, 'k', 13);
    expect(await keyState()).toMatchObject({ last: 12 });
    await eventually(() =>
      expect(health.details().components.inbox).toMatchObject({
        status: 'degraded',
        reason: expect.stringContaining('wait for a decision about a dead letter'),
      }),
    );
  });

  test('a number that another message has used is a dead letter, and not forgotten', async () => {
    const { consumer } = replica();
    await send(consumer, 'k', 1);
    const again = delivery('Step', { key: 'k', n: 9 }, { id: 'another', key: 'k', sequence: 1 });
    await consumer.receive('orders', new TextEncoder().encode(again), {});
    expect(await applied()).toEqual([1]);
    expect(await fixture.admin`SELECT event_id, detail FROM dead_letter`).toMatchObject([
      { event_id: 'another', detail: expect.stringContaining('Number 1 of key k was used before') },
    ]);
  });

  describe('of which one was left waiting by a process that ended, when another comes with its number', () => {
    const other = (consumer: Consumer, type: string, n = 9) =>
      consumer.receive(
        'orders',
        new TextEncoder().encode(delivery(type, { key: 'k', n }, { id: 'another', key: 'k', sequence: 2 })),
        {},
      );
    /** As the key is when the process ends between the first and the second. */
    const firstIsDone = () => fixture.admin`UPDATE inbox_key SET last_seq = 1`;
    const dead = () => fixture.admin`SELECT event_id, reason FROM dead_letter`;

    test('are handled, and the other one is a dead letter', async () => {
      const { consumer } = replica();
      await send(consumer, 'k', 2);
      await firstIsDone();
      await other(consumer, 'Step');
      expect(await dead()).toEqual([{ event_id: 'another', reason: 'invariant' }]);
      await consumer.drain({ topic: 'orders', sender: 'test', key: 'k' });
      expect(await applied()).toEqual([2]);
    });

    test.each([
      ['was handled at once', 9],
      ['is a dead letter', 13],
    ])('are handled though the other one %s, and comes again', async (_, n) => {
      const { consumer } = replica();
      await send(consumer, 'k', 2);
      await other(consumer, 'Note', n);
      await firstIsDone();
      await other(consumer, 'Note', n);
      await eventually(async () => expect(await applied()).toEqual([2]));
      expect(await keyState()).toEqual({ last: 2, waiting: 0, parked: 0 });
    });
  });

  test('those that came before order was asked for are passed', async () => {
    const before = replica({ ordered: false });
    for (const n of [1, 2]) await send(before.consumer, 'k', n);
    const { consumer } = replica();
    await send(consumer, 'k', 3);
    expect(await applied()).toEqual([1, 2]);
    for (const n of [1, 2]) await send(consumer, 'k', n);
    await eventually(async () => expect(await applied()).toEqual([1, 2, 3]));
    expect(await keyState()).toEqual({ last: 3, waiting: 0, parked: 0 });
  });
});

describe('when the order is not asked for any more', () => {
  async function unordered(): Promise<Consumer> {
    const { consumer } = replica({ ordered: false });
    await consumer.worker.start();
    onTestFinished(() => consumer.worker.stop());
    return consumer;
  }

  test('what waited for a message before it is handled, and nothing waits again', async () => {
    const before = replica();
    for (const n of [5, 3, 2]) await send(before.consumer, 'k', n);
    expect(await keyState()).toEqual({ last: 0, waiting: 3, parked: 3 });
    const consumer = await unordered();
    await eventually(async () => expect(await applied()).toEqual([2, 3, 5]));
    for (const n of [1, 2, 3, 4, 5]) await send(consumer, 'k', n);
    expect(await applied()).toEqual([2, 3, 5, 1, 4]);
    expect(await keyState()).toEqual({ last: 0, waiting: 0, parked: 0 });
  });

  test('what waited behind a dead letter is handled, and the dead letter is still there', async () => {
    const before = replica();
    const dead = delivery('Step', { key: 'k', n: 13 }, { id: 'dead', key: 'k', sequence: 1 });
    await before.consumer.receive('orders', new TextEncoder().encode(dead), {});
    for (const n of [2, 3]) await send(before.consumer, 'k', n);
    expect(await keyState()).toEqual({ last: 0, waiting: 2, parked: 2 });
    await unordered();
    await eventually(async () => expect(await applied()).toEqual([2, 3]));
    expect(await fixture.admin`SELECT event_id FROM dead_letter WHERE state = 'waiting'`).toEqual([
      { event_id: 'dead' },
    ]);
  });

  test('and is asked for again, by an older version beside it or a later one, that goes on', async () => {
    const older = replica();
    for (const n of [1, 3]) await send(older.consumer, 'k', n);
    await unordered();
    await eventually(async () => expect(await applied()).toEqual([1, 3]));
    // What is missing is delivered, or fetched from its sender, and what was dealt with is seen again.
    for (const n of [2, 4, 3, 4]) await send(older.consumer, 'k', n);
    await eventually(async () => expect(await applied()).toEqual([1, 3, 2, 4]));
    expect(await keyState()).toEqual({ last: 4, waiting: 0, parked: 0 });
  });
});

/** Keys that have dealt with their first message, and whose second waits as if the process had ended then. */
async function leaveWaiting(first: number, last: number): Promise<void> {
  await fixture.admin`
    INSERT INTO inbox_key (topic, sender, msg_key, last_seq, waiting)
    SELECT 'orders', 'test', 'k' || n, 1, 1 FROM generate_series(${first}::int, ${last}::int) AS n`;
  for (const n of range(first, last)) {
    const body = delivery('Step', { key: `k${n}`, n }, { id: `e${n}`, key: `k${n}`, sequence: 2 });
    await fixture.admin`
      INSERT INTO inbox_parked (topic, sender, msg_key, seq, event_id, body)
      VALUES ('orders', 'test', ${`k${n}`}, 2, ${`e${n}`}, ${Buffer.from(body)})`;
  }
}

test('what waits is counted while handlers hang', async () => {
  const hanging = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const { consumer, metrics } = replica({
    during() {
      begun.resolve();
      return hanging.promise;
    },
  });
  await leaveWaiting(1000, 1003);
  await consumer.worker.start();
  onTestFinished(async () => {
    hanging.resolve();
    await consumer.worker.stop();
  });
  await begun.promise;
  await send(consumer, 'early', 2);
  await eventually(
    async () => expect(await metrics.registry.metrics()).toMatch(/sidecart_inbox_parked\{[^}]*\} 5/),
    1500,
  );
});

test('keys whose next message always fails do not hide those that can go on', async () => {
  const { consumer } = replica({ away: new Set(range(1000, 1100)) });
  await leaveWaiting(1000, 1101);
  await consumer.worker.start();
  onTestFinished(consumer.worker.stop);
  await eventually(async () => expect(await applied('k1101')).toEqual([1101]), 20_000);
});

test.each([true, false])(
  'as many keys go on at once as the pool has connections, deaths counted: %s',
  async (counted) => {
    if (counted)
      await fixture.admin`INSERT INTO consumer_run (id, instance, found_dead_at) VALUES (gen_random_uuid(), 'x', now())`;
    const database = connectDatabase({ url: fixture.urls.url, applicationName: 'small', max: 5 });
    onTestFinished(() => database.close());
    const { consumer } = replica({ database });
    await consumer.worker.start();
    onTestFinished(consumer.worker.stop);
    const keys = ['a', 'b', 'c', 'd', 'e'];
    for (const key of keys) for (const n of [2, 3, 4]) await send(consumer, key, n);
    await Promise.all(keys.map((key) => send(consumer, key, 1)));
    for (const key of keys)
      await eventually(async () => expect(await applied(key)).toEqual([1, 2, 3, 4]), 5000);
  },
);

test('a dead letter that nobody wants in order holds nothing, whether it comes early or in its turn', async () => {
  const { consumer } = replica();
  for (const n of range(1, 12)) await send(consumer, 'turn', n);
  await send(consumer, 'turn', 13, 'Note');
  await send(consumer, 'turn', 14);
  expect(await applied('turn')).toEqual([...range(1, 12), 14]);
  for (const n of range(1, 11)) await send(consumer, 'early', n);
  await send(consumer, 'early', 13, 'Note');
  for (const n of [14, 12]) await send(consumer, 'early', n);
  await eventually(async () => expect(await applied('early')).toEqual([...range(1, 12), 14]));
  expect(await fixture.admin`SELECT holds_key FROM dead_letter`).toEqual([
    { holds_key: false },
    { holds_key: false },
  ]);
});

test('one that killed its process five times when its turn came is a dead letter, and holds its key', async () => {
  await fixture.admin`INSERT INTO consumer_run (id, instance, found_dead_at) VALUES (gen_random_uuid(), 'x', now())`;
  const { consumer } = replica();
  await consumer.worker.start();
  onTestFinished(consumer.worker.stop);
  for (const n of [2, 3]) await send(consumer, 'k', n);
  await fixture.admin`INSERT INTO inbox_start (topic, event_id, starts) VALUES ('orders', ${idOf('k', 2)}, 5)`;
  await send(consumer, 'k', 1);
  await eventually(async () =>
    expect(await fixture.admin`SELECT event_id, reason, holds_key FROM dead_letter`).toEqual([
      { event_id: idOf('k', 2), reason: 'poison', holds_key: true },
    ]),
  );
  expect(await applied()).toEqual([1]);
});

test('a key that passes a number has no note left that says that it may', async () => {
  const place = { topic: 'orders', sender: 'orders', key: 'k', seq: 2n };
  await fixture.database.db.transaction(async (tx) => {
    await pass(tx, place, 'k-2'); // noted, as the first is missing
    await pass(tx, { ...place, seq: 1n }, 'k-1');
  });
  expect(await keyState()).toEqual({ last: 1, waiting: 1, parked: 1 });
  await fixture.database.db.transaction(async (tx) =>
    expect(await pass(tx, place, 'k-2')).toEqual({ last: 2n, waiting: 0 }),
  );
  expect(await keyState()).toEqual({ last: 2, waiting: 0, parked: 0 });
});

test('a number beyond 64 bits is a dead letter', async () => {
  const { consumer } = replica();
  const body = delivery('Step', { key: 'k', n: 1 }, { id: 'big', key: 'k' }).replace(
    '"sequence":"1"',
    '"sequence":"9999999999999999999"',
  );
  expect(await consumer.receive('orders', new TextEncoder().encode(body), {})).toBe('done');
  expect(await fixture.admin`SELECT reason FROM dead_letter`).toEqual([{ reason: 'envelope' }]);
});

test('any order of deliveries, with duplicates, failures and ends in between: each applied once, in order per key', async () => {
  const step = fc.record({
    key: fc.constantFrom('a', 'b'),
    n: fc.integer({ min: 1, max: 6 }),
    replica: fc.integer({ min: 0, max: 1 }),
    fails: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      await fixture.clear();
      await fixture.admin`TRUNCATE applied`;
      const away = new Set<number>();
      const replicas = [replica({ away }), replica({ away })];
      for (const { key, n, replica: which, fails } of steps) {
        if (fails) away.add(n);
        await send((replicas[which] as (typeof replicas)[0]).consumer, key, n);
        away.clear();
      }
      // In the end everything has been delivered, and one sweep has passed.
      for (const key of ['a', 'b'])
        for (const n of range(1, 6))
          expect(await send((replicas[0] as (typeof replicas)[0]).consumer, key, n)).toBe('done');
      const { consumer } = replica();
      for (const key of ['a', 'b']) await consumer.drain({ topic: 'orders', sender: 'test', key });
      for (const key of ['a', 'b'])
        await eventually(async () => expect(await applied(key)).toEqual(range(1, 6)));
    }),
    { seed, numRuns: 40 },
  );
});
