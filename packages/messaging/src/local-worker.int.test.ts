import { currentContext } from '@sidecart/kit/context';
import type { Transaction } from '@sidecart/kit/db';
import { connectDatabase, type Database } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cutProxy } from '../../../tests/cut-proxy.ts';
import { readDelivery } from './delivery.ts';
import { PermanentError } from './failures.ts';
import {
  catalog,
  eventually,
  type Fixture,
  openFixture,
  openTransaction,
  outbox,
  owns,
  pause,
  remind,
} from './fixture.ts';
import { makeDeadRows } from './fixture-dead-rows.ts';
import { behind, fillLong, LONG } from './fixture-long-key.ts';
import { type Handler, type Message, on } from './handler.ts';
import { removeHandled } from './local-apply.ts';
import { createLocalWorker, type LocalWorker, type LocalWorkerOptions } from './local-worker.ts';
import { createOutbox } from './outbox.ts';
import { OutboxSetupError } from './outbox-check.ts';
import { slotOf } from './slot.ts';

let fixture: Fixture;
const workers: { worker: LocalWorker; database: Database }[] = [];

beforeAll(async () => {
  fixture = await openFixture('local');
  const { admin } = fixture;
  await admin`CREATE TABLE applied (id bigint GENERATED ALWAYS AS IDENTITY, key text, n int, seq int, worker text)`;
  await admin.unsafe(`GRANT SELECT, INSERT ON applied TO "${new URL(fixture.urls.url).username}"`);
});
beforeEach(async () => {
  await fixture.clear();
  await fixture.admin`TRUNCATE applied`;
});
afterEach(stopAll);
afterAll(() => fixture?.close());

async function stopAll(): Promise<void> {
  await Promise.all(
    workers.splice(0).map(async ({ worker, database }) => {
      await worker.stop();
      await database.close();
    }),
  );
}

interface Data {
  key: string;
  n: number;
}

/** Notes what it handled, then does what the test wants. */
function noting(
  then: (message: Message<Data>, tx: Transaction, worker: string) => Promise<void> | void = () => {},
  o: { ordered?: boolean } = {},
) {
  return (worker: string): Handler =>
    on(
      catalog.Remind.schema,
      async (tx, message) => {
        const { key, data, sequence } = message;
        await tx.execute(
          sql`INSERT INTO applied (key, n, seq, worker) VALUES (${key}, ${data.n}, ${Number(sequence)}, ${worker})`,
        );
        await then(message, tx, worker);
      },
      o,
    );
}

async function start(
  handler: (worker: string) => Handler,
  o: Partial<LocalWorkerOptions> & { name?: string } = {},
): Promise<LocalWorker & { health: Health; metrics: LocalWorkerOptions['metrics']; database: Database }> {
  const { name = 'worker', ...options } = o;
  const deps = testDeps('orders');
  const database = connectDatabase({ url: fixture.urls.url, applicationName: name });
  const handlers = { Remind: handler(name) };
  const worker = createLocalWorker({ ...deps, database, handlers, pollMs: 50, ...options });
  workers.push({ worker, database });
  await worker.start();
  return { ...worker, ...deps, database };
}

const write = (...messages: ReturnType<typeof remind>[]) =>
  fixture.database.db.transaction((tx) => outbox.send(tx, ...messages));
const waiting = async () =>
  Number((await fixture.admin<{ n: number }[]>`SELECT count(*)::int AS n FROM outbox_local`)[0]?.n);
const emptied = (ms?: number) => eventually(async () => expect(await waiting()).toBe(0), ms);

interface Effect {
  key: string;
  n: number;
  seq: number;
  worker: string;
}
const effects = () => fixture.admin<Effect[]>`SELECT key, n, seq, worker FROM applied ORDER BY id`;

/** Each message of each key once, in the order of writing. */
async function expectOnceInOrder(written: number): Promise<void> {
  const rows = await effects();
  const next = new Map<string, number>();
  for (const { key, seq } of rows) {
    expect(seq, `number of ${key}`).toBe((next.get(key) ?? 0) + 1);
    next.set(key, seq);
  }
  expect(rows).toHaveLength(written);
}

/** The session that owns each slot. */
async function owners(): Promise<Map<number, string>> {
  const rows = await fixture.admin<{ slot: number; name: string }[]>`
    SELECT objid::int AS slot, application_name AS name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND classid = 7002 AND granted AND datname = current_database()`;
  return new Map(rows.map(({ slot, name }) => [slot, name]));
}

/** Every worker takes every slot, and believes to be alone. */
async function withoutLocks(work: () => Promise<void>): Promise<void> {
  const { admin, urls } = fixture;
  const role = new URL(urls.url).username;
  await admin.unsafe(`
    CREATE FUNCTION public.pg_try_advisory_lock(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE VIEW public.pg_locks AS SELECT * FROM pg_catalog.pg_locks WHERE false;
    GRANT SELECT ON public.pg_locks TO "${role}";
    ALTER ROLE "${role}" SET search_path = public, pg_catalog`);
  try {
    await work();
  } finally {
    await stopAll();
    await admin.unsafe(`
      ALTER ROLE "${role}" RESET search_path;
      DROP VIEW public.pg_locks;
      DROP FUNCTION public.pg_try_advisory_lock(int, int)`);
  }
}

test('what nobody tells of is found by a poll, long before the next sweep', async () => {
  await start(noting());
  await pause(100);
  const beganAt = performance.now();
  for (let i = 0; i < 8; i++) {
    await write(remind('k', i));
    await emptied();
  }
  expect(performance.now() - beganAt).toBeLessThan(4000); // sweeps are a second apart
});

describe('handling', () => {
  test('what commits is handled in the order of its key and is gone, without outbox or inbox', async () => {
    const seen: (Message<Data> & { context: unknown })[] = [];
    const worker = await start(
      noting((message) => void seen.push({ ...message, context: currentContext() })),
    );
    await write(...Array.from({ length: 250 }, (_, i) => remind(`k${i % 7}`, i)));
    worker.nudge();
    await emptied();
    await expectOnceInOrder(250);
    const first = seen.find(({ key }) => key === 'k0');
    expect(first).toMatchObject({
      type: 'Remind',
      sequence: '1',
      actor: 'system',
      data: { key: 'k0', n: 0 },
    });
    expect(first?.context).toMatchObject({ causationId: first?.id, actor: 'system' });
    const [other] = await fixture.admin`
      SELECT (SELECT count(*) FROM outbox)::int AS outbox, (SELECT count(*) FROM inbox)::int AS inbox`;
    expect(other).toEqual({ outbox: 0, inbox: 0 });
    expect(await worker.metrics.registry.metrics()).toMatch(
      /sidecart_local_handler_seconds_count\{[^}]*type="Remind"[^}]*\} 250/,
    );
  });

  test('what is rolled back is never handled', async () => {
    const worker = await start(noting());
    const undone = fixture.database.db.transaction(async (tx) => {
      await outbox.send(tx, remind('k', 1));
      throw new Error('undone');
    });
    await expect(undone).rejects.toThrow('undone');
    await write(remind('k', 2));
    worker.nudge();
    await emptied();
    expect(await effects()).toMatchObject([{ n: 2, seq: 1 }]);
  });

  test('a lower id that is committed late is handled within one sweep, before a later one of its key', async () => {
    const worker = await start(noting());
    const commit = await openTransaction(fixture.database, (tx) => outbox.send(tx, remind('late', 1)));
    const other = Array.from({ length: 500 }, (_, i) => `o${i}`).find((k) => slotOf(k) === slotOf('late'));
    for (let i = 0; i < 5; i++) await write(remind(other ?? '', i));
    worker.nudge();
    await emptied();
    const next = write(remind('late', 2)); // waits for the counter
    await Promise.all([commit(), next]);
    worker.nudge();
    await emptied();
    await expectOnceInOrder(7);
  });
});

test('without an order each message is handled once too, those committed late included', async () => {
  const writer = createOutbox({ service: 'orders', catalog, owns, handles: () => ({ ordered: false }) });
  const worker = await start(noting());
  const writers = Array.from({ length: 8 }, async (_, w) => {
    for (let i = 0; i < 50; i++) {
      await fixture.database.db.transaction(async (tx) => {
        await writer.send(tx, remind(`k${i % 5}`, w * 50 + i));
        // Ids are taken in one order and committed in another.
        await pause((w * 7 + i * 3) % 10);
      });
      worker.nudge();
    }
  });
  await Promise.all(writers);
  await emptied();
  const rows = await effects();
  expect(new Set(rows.map(({ n }) => n)).size).toBe(400);
  expect(rows).toHaveLength(400);
  expect(rows.every(({ seq }) => seq > 0)).toBe(true);
});

test('a dead letter of a message without an order can be read again', async () => {
  const writer = createOutbox({ service: 'orders', catalog, owns, handles: () => ({ ordered: false }) });
  const worker = await start(
    noting(() => {
      throw new PermanentError('never');
    }),
  );
  await fixture.database.db.transaction((tx) => writer.send(tx, remind('k', 1)));
  worker.nudge();
  await emptied();
  const [row] = await fixture.admin<{ body: Uint8Array; eventId: string }[]>`
    SELECT body, event_id AS "eventId" FROM dead_letter`;
  expect(readDelivery(row?.body ?? new Uint8Array())).toMatchObject({
    id: row?.eventId,
    envelope: { type: 'Remind', data: { key: 'k', n: 1 } },
  });
});

describe('once', () => {
  test('the connection is killed between handler and commit: the effect is there once', async () => {
    let kills = 0;
    const worker = await start(
      noting(async ({ data }, tx) => {
        if (data.n !== 5 || kills >= 2) return;
        kills += 1;
        const [row] = await tx.execute<{ pid: number }>(sql`SELECT pg_backend_pid() AS pid`);
        await fixture.admin`SELECT pg_terminate_backend(${row?.pid ?? 0})`;
      }),
    );
    await write(...Array.from({ length: 10 }, (_, i) => remind('k', i)));
    worker.nudge();
    await emptied();
    expect(kills).toBe(2);
    await expectOnceInOrder(10);
  });

  /** Two workers, both owners of every slot, both with the same message in a transaction at the same time. */
  async function bothHandle(o: Partial<LocalWorkerOptions> = {}): Promise<string[]> {
    const inside = new Set<string>();
    const handler = noting(async (_, __, worker) => {
      inside.add(worker);
      for (let i = 0; i < 100 && inside.size < 2; i++) await pause(10);
    });
    await withoutLocks(async () => {
      await start(handler, { name: 'first', ...o });
      await start(handler, { name: 'second', ...o });
      await write(remind('k', 1));
      await eventually(() => expect([...inside].sort()).toEqual(['first', 'second']));
      await emptied();
    });
    return (await effects()).map(({ worker }) => worker);
  }

  test('two workers on one slot: one of them undoes what it did', async () => {
    expect(await bothHandle()).toHaveLength(1);
  });

  test('control: without the count of what was deleted both apply', async () => {
    const remove: LocalWorkerOptions['remove'] = async (tx, messages) => {
      await removeHandled(tx, messages);
      return messages.length;
    };
    expect((await bothHandle({ remove })).sort()).toEqual(['first', 'second']);
  });
});

describe('several workers', () => {
  /** Of the slot that the first of two gives up first. */
  const key = Array.from({ length: 500 }, (_, i) => `k${i}`).find((k) => slotOf(k) === 0) as string;

  test('share the slots, and keep each key in order while one comes, one goes and one is killed', async () => {
    const handler = noting(() => pause(1));
    await start(handler, { name: 'first' });
    let written = 0;
    const batch = async () => {
      await write(...Array.from({ length: 60 }, (_, i) => remind(`k${i % 20}`, i)));
      written += 60;
    };
    await batch();
    const second = await start(handler, { name: 'second' });
    await batch();
    const third = await start(handler, { name: 'third' });
    for (let i = 0; i < 10; i++) {
      await batch();
      await pause(100);
    }
    const counts = async () => {
      const found: Record<string, number> = {};
      for (const name of (await owners()).values()) found[name] = (found[name] ?? 0) + 1;
      return Object.values(found).sort();
    };
    await eventually(async () => expect(await counts()).toEqual([5, 5, 6]));
    await batch();
    await fixture.admin`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name IN ('second', 'second-local')`;
    await batch();
    await third.stop();
    await batch();
    await emptied(20_000);
    await expectOnceInOrder(written);
    expect(new Set((await effects()).map(({ worker }) => worker)).size).toBe(3);
    await eventually(() => expect(second.health.details().components.local?.status).toBe('ok'));
    await eventually(async () => expect(await counts()).toEqual([8, 8]));
  });

  test('one that is to give a slot up begins nothing more of it, though it has more of it in memory', async () => {
    const handler = noting(() => pause(100));
    await start(handler, { name: 'first', concurrency: 16 });
    await write(...Array.from({ length: 100 }, (_, n) => remind(key, n)));
    await eventually(async () => expect((await effects()).length).toBeGreaterThan(0));
    await start(handler, { name: 'second', concurrency: 16 });
    await emptied(20_000);
    await expectOnceInOrder(100);
    const by = Map.groupBy(await effects(), ({ worker }) => worker);
    expect(by.get('second')?.length ?? 0).toBeGreaterThan(10);
  });

  test('one that gave the slot of a failing key up tells no more of it', async () => {
    const fails = noting(() => Promise.reject(new Error('not now')));
    const first = await start(fails, { name: 'first' });
    await write(remind(key, 1));
    const status = () => first.health.details().components.local?.status;
    await eventually(() => expect(status()).toBe('degraded'));
    await start(noting(), { name: 'second' });
    await emptied(20_000);
    expect(new Set([...(await owners()).values()])).toEqual(new Set(['first-local', 'second-local']));
    await eventually(() => expect(status()).toBe('ok'));
  });

  test('one that loses its slots in the middle of a transaction and the one that takes them over agree', async () => {
    const firstIsInside = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const handler = noting(async ({ data }, _, worker) => {
      if (worker !== 'first' || data.n !== 2) return;
      firstIsInside.resolve();
      await goOn.promise;
    });
    await start(handler, { name: 'first' });
    await write(remind('k', 1), remind('k', 2), remind('k', 3));
    await firstIsInside.promise;
    await start(handler, { name: 'second' });
    await write(remind('k', 4));
    await fixture.admin`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'first-local'`;
    await eventually(async () => expect((await owners()).get(slotOf('k'))).toBe('second-local'));
    await pause(200);
    goOn.resolve();
    await emptied();
    await expectOnceInOrder(4);
  });
});

test('commits beside a worker that does not own their slot reach the owner long before it looks by itself', async () => {
  await start(noting(), { name: 'first', pollMs: 2000 });
  const other = await start(noting(), { name: 'second', pollMs: 2000 });
  const theirs = async () => [...(await owners())].filter(([, name]) => name === 'first-local');
  await eventually(async () => expect(await theirs()).toHaveLength(8));
  const slots = new Set((await theirs()).map(([slot]) => slot));
  const key = Array.from({ length: 100 }, (_, i) => `k${i}`).find((k) => slots.has(slotOf(k))) ?? '';
  const began = performance.now();
  for (let n = 1; n <= 5; n += 1) {
    await write(remind(key, n));
    other.nudge();
    await eventually(async () => expect(await effects()).toHaveLength(n));
  }
  // Found by the sweeps of its owner, each but the first would take a second.
  expect(performance.now() - began).toBeLessThan(2500);
  expect(new Set((await effects()).map(({ worker }) => worker))).toEqual(new Set(['first']));
});

test('a handler that takes long holds up its own slot only, also when there is little to do', async () => {
  const end = Promise.withResolvers<void>();
  const handler = noting(({ key }) => (key === 'slow' ? end.promise : undefined));
  const worker = await start(handler);
  await write(remind('slow', 1));
  worker.nudge();
  await pause(300);
  const other =
    Array.from({ length: 500 }, (_, i) => `o${i}`).find((k) => slotOf(k) !== slotOf('slow')) ?? '';
  for (let i = 0; i < 3; i++) {
    await write(remind(other, i));
    worker.nudge();
    await eventually(async () => expect(await effects()).toHaveLength(i + 1));
  }
  end.resolve();
  await emptied();
  await expectOnceInOrder(4);
});

describe('what fails', () => {
  test('a failing message holds up its own key only, shows, and is handled when it can be', async () => {
    let cured = false;
    const worker = await start(
      noting(({ key, data }) => {
        if (key === 'bad' && data.n === 2 && !cured) throw new Error('not now');
      }),
    );
    const other =
      Array.from({ length: 500 }, (_, i) => `o${i}`).find((k) => slotOf(k) === slotOf('bad')) ?? '';
    await write(remind('bad', 1), remind('bad', 2), remind(other, 1), remind('bad', 3), remind(other, 2));
    worker.nudge();
    await eventually(async () => expect(await waiting()).toBe(2));
    expect((await effects()).map(({ key, n }) => [key, n])).toEqual([
      ['bad', 1],
      [other, 1],
      [other, 2],
    ]);
    await eventually(() =>
      expect(worker.health.details().components.local).toMatchObject({
        status: 'degraded',
        reason: expect.stringContaining('bad waits'),
      }),
    );
    await write(remind('bad', 4), remind(other, 3));
    worker.nudge();
    await eventually(async () => expect(await effects()).toHaveLength(4));
    cured = true;
    await emptied();
    await expectOnceInOrder(7);
    await eventually(() => expect(worker.health.details().components.local?.status).toBe('ok'));
  });

  test('more failing keys of a slot than a read takes hold up nothing behind them, and are all handled when they can be', async () => {
    const slot = slotOf('bad');
    const keys = (prefix: string, count: number) =>
      Array.from({ length: 10_000 }, (_, i) => `${prefix}${i}`)
        .filter((key) => slotOf(key) === slot)
        .slice(0, count);
    const tries = new Map<string, number>();
    let cured = false;
    const worker = await start(
      noting(async ({ key }) => {
        if (cured || !key.startsWith('bad')) return;
        const nth = (tries.get(key) ?? 0) + 1;
        tries.set(key, nth);
        if (nth > 2) await pause(60); // those of a hundred keys take longer than a key waits at most
        throw new Error('not now');
      }),
    );
    await write(...keys('bad', 110).map((key) => remind(key, 1)));
    worker.nudge();
    await eventually(() => expect(tries.size).toBe(110));
    await pause(1000); // now more of them are due than a read takes
    for (const key of keys('good', 3)) {
      await write(remind(key, 1));
      worker.nudge();
      await eventually(async () => expect((await effects()).at(-1)?.key).toBe(key), 1500);
    }
    cured = true;
    await emptied(10_000);
    await expectOnceInOrder(113);
  });

  const broken = (o: { ordered?: boolean }) =>
    noting(({ key, data }) => {
      if (key === 'bad' && data.n === 2) throw new PermanentError('never');
    }, o);
  const five = () =>
    write(remind('bad', 1), remind('bad', 2), remind('bad', 3), remind('good', 1), remind('good', 2));
  const dead = () =>
    fixture.admin`SELECT topic, type, msg_key, reason, detail, state, holds_key, convert_from(body, 'utf8')::json AS body FROM dead_letter`;

  test('a handler that never returns is given up: what it did is undone, others go on, and it is tried again', async () => {
    let hangs = 0;
    const worker = await start(
      noting(({ key }) => (key === 'stuck' && hangs++ === 0 ? new Promise<void>(() => {}) : undefined)),
      { handlerTimeoutMs: 300 },
    );
    await fixture.database.db.transaction((tx) => outbox.send(tx, remind('stuck', 1), remind('free', 1)));
    worker.nudge();
    await eventually(async () => {
      const rows = await fixture.admin<{ key: string }[]>`SELECT key FROM applied ORDER BY key`;
      expect(rows.map(({ key }) => key)).toEqual(['free', 'stuck']);
    });
    expect(hangs).toBe(2);
  });

  test('a message that can never be handled becomes a dead letter, and its key goes on', async () => {
    const worker = await start(broken({ ordered: false }));
    await five();
    worker.nudge();
    await emptied();
    expect((await effects()).filter(({ key }) => key === 'bad').map(({ n }) => n)).toEqual([1, 3]);
    expect(await dead()).toMatchObject([
      {
        topic: 'self',
        type: 'Remind',
        msg_key: 'bad',
        reason: 'invariant',
        detail: 'never',
        holds_key: false,
      },
    ]);
  });

  test('for an ordered handler it holds its key until somebody decides, also for the next worker', async () => {
    const worker = await start(broken({ ordered: true }), { name: 'first' });
    await five();
    worker.nudge();
    await eventually(async () => expect(await dead()).toHaveLength(1));
    await eventually(async () => expect(await waiting()).toBe(1));
    expect(await dead()).toMatchObject([
      {
        holds_key: true,
        state: 'waiting',
        body: {
          type: 'Remind',
          partitionkey: 'bad',
          sequence: '2',
          source: '/sidecart/orders',
          data: { n: 2 },
        },
      },
    ]);
    await worker.stop();
    await start(broken({ ordered: true }), { name: 'second' });
    await write(remind('bad', 4), remind('good', 3));
    await eventually(async () =>
      expect((await effects()).filter(({ key }) => key === 'good')).toHaveLength(3),
    );
    await pause(1200); // a sweep
    expect((await effects()).filter(({ key }) => key === 'bad').map(({ n }) => n)).toEqual([1]);
    await fixture.admin`UPDATE dead_letter SET state = 'discarded'`;
    await emptied();
    expect((await effects()).filter(({ key }) => key === 'bad').map(({ n }) => n)).toEqual([1, 3, 4]);
  });

  test('a message that breaks its schema is a dead letter', async () => {
    const strict = catalog.Remind.schema.refine((d) => d.n < 10, 'n is too big');
    await write(remind('k', 10));
    await start(() => on(strict, async () => {}));
    await emptied();
    expect((await dead()).map(({ reason }) => reason)).toEqual(['schema']);
  });

  test('one of a type that only another version of the service knows waits for it, and holds up its key only', async () => {
    await write(remind('k', 1), remind('k', 2), remind('other', 1));
    await fixture.admin`UPDATE outbox_local SET type = 'New' WHERE msg_key = 'k' AND key_seq = 1`;
    const worker = await start(noting());
    await eventually(async () => expect((await effects()).map(({ key }) => key)).toEqual(['other']));
    await eventually(() => expect(worker.health.details().components.local?.status).toBe('degraded'));
    expect(await dead()).toEqual([]);
    await fixture.admin`UPDATE outbox_local SET type = 'Remind'`; // as for a replica that has its handler
    await emptied();
    expect((await effects()).filter(({ key }) => key === 'k').map(({ n }) => n)).toEqual([1, 2]);
  });
});

test('a message that killed its process five times is a dead letter, and nothing else with it', async () => {
  const { admin } = fixture;
  await write(remind('poison', 1), remind('k', 1), remind('k', 2));
  await admin`
    INSERT INTO consumer_run (id, instance, found_dead_at) VALUES (gen_random_uuid(), 'gone', clock_timestamp())`;
  await admin`INSERT INTO inbox_start (topic, event_id, starts) SELECT 'self', event_id::text, 5 FROM outbox_local WHERE msg_key = 'poison'`;
  const worker = await start(noting());
  worker.nudge();
  await emptied();
  expect((await effects()).map(({ key }) => key)).toEqual(['k', 'k']);
  expect([...(await admin`SELECT reason, msg_key AS key FROM dead_letter`)]).toEqual([
    { reason: 'poison', key: 'poison' },
  ]);
  const [left] = await admin`SELECT count(*)::int AS n FROM inbox_start WHERE starts < 5`;
  expect(left?.n).toBe(0);
});

test('a table that would lose the order is refused at the start, and its cure cures', async () => {
  await fixture.admin`ALTER TABLE outbox_local ALTER COLUMN id SET CACHE 20`;
  const refused = await start(noting()).catch((err: unknown) => err);
  expect(refused).toBeInstanceOf(OutboxSetupError);
  await fixture.admin.unsafe((refused as OutboxSetupError).cure);
  await start(noting());
});

test('a database that falls silent without ending the connection of the slots is left for a new one', async () => {
  const proxy = await cutProxy(fixture.urls.url);
  const worker = await start(noting(), {
    database: { ...fixture.database, url: proxy.url }, // transactions are not in question
    idleSessionTimeoutMs: 1000,
  });
  await write(remind('k', 1));
  await emptied();
  proxy.silence();
  await write(remind('k', 2));
  await eventually(() =>
    expect(worker.health.details().components.local?.reason).toBe(
      'no database: The database does not answer local-local',
    ),
  );
  await emptied();
  await expectOnceInOrder(2);
  expect(worker.health.details().components.local?.status).toBe('ok');
});

test('a Remind without a local handler is refused in send, with the cure', async () => {
  const without = createOutbox({ service: 'orders', catalog, owns: ['orders'] });
  const sending = fixture.database.db.transaction((tx) => without.send(tx, remind('k', 1)));
  await expect(sending).rejects.toThrow('no local handler for Remind: give it one');
});

test('a key with thousands of messages behind a dead letter holds up no other of its slot, and goes on when it is released', async () => {
  await fillLong(fixture, 'outbox_local', 'Remind');
  await fixture.admin`
    INSERT INTO dead_letter (topic, event_id, type, msg_key, body, headers, reason, detail, attempts, holds_key)
    VALUES ('self', 'e', 'Remind', 'long', '', '{}', 'invariant', 'never', 1, true)`;
  await start(noting(undefined, { ordered: true }));
  await eventually(async () => expect((await effects()).map(({ key }) => key)).toEqual([behind]), 5000);
  await fixture.admin`UPDATE dead_letter SET state = 'discarded'`;
  await emptied(30_000);
  const long = (await effects()).filter(({ key }) => key === 'long');
  expect(long.map(({ seq }) => seq)).toEqual(Array.from({ length: LONG }, (_, i) => i + 1));
});

test('rows that are dead and cannot be vacuumed are passed at the start, not in each sweep', async () => {
  const dead = await makeDeadRows(fixture, { queue: 'outbox_local', slot: slotOf('k'), rows: 10_000 });
  const worker = await start(noting());
  for (let i = 0; i < 100; i++) {
    await write(remind('k', i));
    worker.nudge();
    await pause(20);
  }
  await emptied();
  await stopAll(); // which is when a session says what it has counted
  await expectOnceInOrder(100);
  const looks = await dead.passed();
  expect(looks).toBeGreaterThanOrEqual(1);
  expect(looks).toBeLessThan(4);
  await dead.release();
});

test('a transaction that stays open in this and in another database holds up nothing', async () => {
  const worker = await start(noting());
  const elsewhere = new URL(fixture.urls.superUrl);
  elsewhere.pathname = '/postgres';
  const open = [fixture.urls.superUrl, elsewhere.href].map((url) => postgres(url, { max: 1 }));
  const release = Promise.withResolvers<void>();
  const began = open.map(() => Promise.withResolvers<void>());
  const held = open.map((db, i) =>
    db.begin(async (tx) => {
      await tx`SELECT pg_current_xact_id()`;
      began[i]?.resolve();
      await release.promise;
    }),
  );
  await Promise.all(began.map(({ promise }) => promise));
  for (let i = 0; i < 20; i++) {
    await write(remind('k', i));
    worker.nudge();
  }
  await emptied();
  await expectOnceInOrder(20);
  release.resolve();
  await Promise.all(held);
  await Promise.all(open.map((db) => db.end()));
});
