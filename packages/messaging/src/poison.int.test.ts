import { fileURLToPath } from 'node:url';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { createConsumer } from './consumer.ts';
import { eventually, type Fixture, openFixture, outbox, pause, remind } from './fixture.ts';
import { hurryTimers } from './fixture-timers.ts';
import { on } from './handler.ts';
import { MAX_STARTS } from './limits.ts';
import { createLocalWorker } from './local-worker.ts';
import { createPoisonGuard } from './poison.ts';
import { redriveDeadLetter } from './redrive.ts';
import { delivery } from './testing.ts';

/** What is told of one that died as often as is granted. */
const DIED = `The process died at least ${MAX_STARTS} times while it handled this message; deaths before they were counted are not among these`;
/** As in poison.ts. */
const BEAT_MS = 5000;

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('poison');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

/** Starts are counted from now on. */
const someDeath = () =>
  fixture.admin`INSERT INTO consumer_run (id, instance, found_dead_at) VALUES (gen_random_uuid(), 'x', now())`;

/** Runs the fixture's process until it survives, at most `limit` times; returns how often it died. */
async function deathsOf(
  watch: 'watch' | 'blind',
  numbers: number[],
  limit: number,
  how: 'in turn' | 'together' | 'local' | 'set aside' = 'in turn',
): Promise<number> {
  const program = fileURLToPath(new URL('fixture-consumer.ts', import.meta.url));
  for (let deaths = 0; deaths < limit; deaths += 1) {
    const args = ['--import', 'tsx', program, fixture.urls.url, watch, how, ...numbers.map(String)];
    const { exitCode, signal, stderr } = await execa(process.execPath, args, { reject: false });
    if (exitCode === 0) return deaths;
    expect({ signal, stderr }).toMatchObject({ signal: 'SIGKILL' });
  }
  return limit;
}

test('a message that kills the process is a dead letter after a bounded number of deaths, and those behind it are handled', async () => {
  // One death before anybody counts, and as many as are granted.
  expect(await deathsOf('watch', [13, 7], 10)).toBe(MAX_STARTS + 1);
  expect(await fixture.admin`SELECT event_id, reason, detail FROM dead_letter`).toMatchObject([
    { event_id: 'm13', reason: 'poison', detail: DIED },
  ]);
  expect(await fixture.admin`SELECT n FROM effect`).toEqual([{ n: 7 }]);
});

test('while deaths are counted already, its first one counts as well, and the detail is true of both', async () => {
  await someDeath();
  expect(await deathsOf('watch', [13], 10)).toBe(MAX_STARTS);
  expect(await fixture.admin`SELECT detail FROM dead_letter`).toEqual([{ detail: DIED }]);
});

test('control: when nobody counts, it kills for ever', async () => {
  expect(await deathsOf('blind', [13, 7], MAX_STARTS + 3)).toBe(MAX_STARTS + 3);
});

test('a message that was only near when the process died is none', async () => {
  for (let i = 0; i < 3; i += 1) await deathsOf('watch', [5, 13], 1);
  expect(await deathsOf('watch', [5], 1)).toBe(0);
  expect(await fixture.admin`SELECT event_id FROM inbox_start`).toEqual([{ event_id: 'm13' }]);
});

const effects = async () =>
  (await fixture.admin<{ n: number }[]>`SELECT n FROM effect ORDER BY n`).map(({ n }) => n);

test('of messages that are delivered together each time only the one that kills becomes a dead letter', async () => {
  expect(await deathsOf('watch', [3, 13, 5, 7], 12, 'together')).toBe(MAX_STARTS + 1);
  expect(await fixture.admin`SELECT event_id, reason FROM dead_letter`).toEqual([
    { event_id: 'm13', reason: 'poison' },
  ]);
  expect(await effects()).toEqual([3, 5, 7]);
});

test('and of messages to oneself, and of deliveries beside these', async () => {
  const { db } = fixture.database;
  await db.transaction((tx) => outbox.send(tx, ...[8, 13, 9].map((n) => remind(`k${n}`, n))));
  expect(await deathsOf('watch', [3, 5], 12, 'local')).toBe(MAX_STARTS + 1);
  expect(await fixture.admin`SELECT msg_key, reason FROM dead_letter`).toEqual([
    { msg_key: 'k13', reason: 'poison' },
  ]);
  expect(await effects()).toEqual([3, 5, 8, 9]);
});

test('and of messages that were set aside', async () => {
  for (const n of [3, 13, 5]) {
    const [id, key] = [`m${n}`, `k${n}`];
    const body = Buffer.from(delivery('Placed', { n }, { id, key }));
    await fixture.admin`INSERT INTO inbox (topic, event_id, outcome) VALUES ('orders', ${id}, 'failing')`;
    await fixture.admin`INSERT INTO inbox_failing (topic, event_id, sender, msg_key, key_seq, passed, body, headers, why)
      VALUES ('orders', ${id}, 'test', ${key}, 1, false, ${body}, '{}', 'x')`;
  }
  expect(await deathsOf('watch', [], 12, 'set aside')).toBe(MAX_STARTS + 1);
  expect(await fixture.admin`SELECT event_id, reason FROM dead_letter`).toEqual([
    { event_id: 'm13', reason: 'poison' },
  ]);
  expect(await effects()).toEqual([3, 5]);
});

test('a handling that goes on after its time still counts: it may kill yet', async () => {
  await fixture.admin`INSERT INTO consumer_run (id, instance, found_dead_at) VALUES (gen_random_uuid(), 'x', now())`;
  let release = () => {};
  const going = new Promise<void>((resolve) => {
    release = resolve;
  });
  const consumer = createConsumer({
    ...testDeps('inventory'),
    database: fixture.database,
    handlerTimeoutMs: 100,
    topics: { orders: { kind: 'fact', handlers: { Placed: on(z.object({ n: z.int() }), () => going) } } },
  });
  await consumer.worker.start();
  onTestFinished(consumer.worker.stop);
  const body = new TextEncoder().encode(delivery('Placed', { n: 1 }, { id: 'm1', key: 'k' }));
  expect(await consumer.receive('orders', body, {})).toBe('retry');
  expect(await fixture.admin`SELECT event_id, starts FROM inbox_start`).toEqual([
    { event_id: 'm1', starts: 1 },
  ]);
  release();
  await eventually(async () => expect(await fixture.admin`SELECT FROM inbox_start`).toHaveLength(0));
});

test('one that is redriven, and has to wait for those before it, is handled in its turn', async () => {
  await someDeath();
  await fixture.admin`INSERT INTO inbox_start (topic, event_id, starts) VALUES ('orders', 'm2', ${MAX_STARTS})`;
  const add = on(
    z.object({ n: z.int() }),
    async (tx, { data }) => void (await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`)),
    { ordered: true },
  );
  const { database } = fixture;
  const consumer = createConsumer({
    ...testDeps('inventory'),
    database,
    topics: { orders: { kind: 'fact', handlers: { Placed: add } } },
  });
  await consumer.worker.start();
  onTestFinished(consumer.worker.stop);
  const send = (n: number) => {
    const body = delivery('Placed', { n }, { id: `m${n}`, key: 'k', sequence: n });
    return consumer.receive('orders', new TextEncoder().encode(body), {});
  };
  await send(2);
  const [dead] = await fixture.admin`SELECT id, reason FROM dead_letter`;
  expect(dead?.reason).toBe('poison');
  expect(await redriveDeadLetter({ database, consumer }, BigInt(dead?.id), 'ana')).toEqual({
    outcome: 'parked',
  });
  await send(1);
  await eventually(async () => expect(await effects()).toEqual([1, 2]));
  expect(await fixture.admin`SELECT FROM dead_letter WHERE state = 'waiting'`).toHaveLength(0);
});

describe('a handler that never returns', () => {
  const never = on(z.object({ n: z.int() }), () => new Promise(() => {}));
  const starts = () => fixture.admin`SELECT topic, starts FROM inbox_start`;
  beforeEach(async () => void (await someDeath()));

  test('may kill once, however often its message comes again beside it, and whatever becomes of that', async () => {
    const consumer = createConsumer({
      ...testDeps('inventory'),
      database: fixture.database,
      handlerTimeoutMs: 100,
      topics: { orders: { kind: 'fact', handlers: { Placed: never } } },
    });
    await consumer.worker.start();
    onTestFinished(consumer.worker.stop);
    const body = new TextEncoder().encode(delivery('Placed', { n: 1 }, { id: 'm1', key: 'k' }));
    for (let i = 0; i < 3; i += 1) expect(await consumer.receive('orders', body, {})).toBe('retry');
    await pause(2500); // those that wait for the first in the database fail
    expect(await starts()).toEqual([{ topic: 'orders', starts: 1 }]);
  });

  test('nor does it matter that a worker for messages to oneself has given it up', async () => {
    const local = createLocalWorker({
      ...testDeps('orders'),
      service: 'orders',
      database: fixture.database,
      handlerTimeoutMs: 100,
      handlers: { Remind: never },
    });
    await local.start();
    onTestFinished(() => local.stop());
    await fixture.database.db.transaction((tx) => outbox.send(tx, remind('k', 1)));
    await pause(1500);
    expect(await starts()).toEqual([{ topic: 'self', starts: 1 }]);
  });
});

test('who was taken for dead, and was only frozen, takes that back with its next beat', async () => {
  hurryTimers(BEAT_MS, 100);
  const guard = createPoisonGuard({ ...testDeps('inventory'), database: fixture.database });
  await guard.start();
  onTestFinished(guard.stop);
  await fixture.admin`UPDATE consumer_run SET found_dead_at = clock_timestamp()`;
  await eventually(async () =>
    expect(await fixture.admin`SELECT found_dead_at FROM consumer_run`).toEqual([{ found_dead_at: null }]),
  );
});

test('who ends in order leaves nothing to count', async () => {
  const guard = createPoisonGuard({ ...testDeps('inventory'), database: fixture.database });
  await guard.start();
  await guard.stop();
  const next = createPoisonGuard({ ...testDeps('inventory'), database: fixture.database });
  await next.start();
  expect(await next.begin('orders', 'm1', 1000)).toMatchObject({ starts: 0 });
  await next.stop();
});
