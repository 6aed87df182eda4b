import { readFileSync } from 'node:fs';
import { connectDatabase, isTransientDbError } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { expect, onTestFinished, test } from 'vitest';
import { ownPostgres } from '../../../tests/own-postgres.ts';
import { createConsumer } from './consumer.ts';
import type { CloudEvent } from './envelope.ts';
import { catalog, eventually, openFixture, outbox, pause, placed } from './fixture.ts';
import { on } from './handler.ts';
import { createRelay } from './relay.ts';

// Nothing of the application is started anew in these tests: what was made at their beginning has to go on by itself.

/** A writer, a relay and an ordered receiver on one database, all at work until `stop`, which looks at what came of it. */
async function openTraffic(serverUrl?: string) {
  const fixture = await openFixture('database_faults', serverUrl);
  onTestFinished(fixture.close);
  const { admin } = fixture;
  await admin.unsafe(`
    CREATE TABLE written (n int PRIMARY KEY);
    CREATE TABLE applied (id bigint GENERATED ALWAYS AS IDENTITY, n int, padding text);
    GRANT ALL ON written, applied TO PUBLIC`);
  const database = connectDatabase({ url: fixture.urls.url, applicationName: 'app' });
  onTestFinished(database.close);
  const stored: CloudEvent[] = [];
  const relay = createRelay({
    ...testDeps('orders'),
    url: fixture.urls.url,
    applicationName: 'app',
    publish: async (_topic, event) => void stored.push(event),
  });
  const handler = on(
    catalog.Placed.schema,
    async (tx, { data }) => {
      await tx.execute(sql`INSERT INTO applied (n, padding) VALUES (${data.n}, repeat('x', 1000))`);
    },
    { ordered: true },
  );
  const consumer = createConsumer({
    ...testDeps('inventory'),
    database,
    handlerTimeoutMs: 500,
    topics: { orders: { kind: 'fact', handlers: { Placed: handler } } },
  });
  await relay.start();
  await consumer.worker.start();
  onTestFinished(async () => {
    await relay.stop();
    await consumer.worker.stop();
  });

  let writing = true;
  let delivering = true;
  const seen = { refused: 0, retries: 0 };
  const writer = (async () => {
    for (let n = 1; writing; n++) {
      await database.db
        .transaction(async (tx) => {
          await tx.execute(sql`INSERT INTO written VALUES (${n})`);
          await outbox.publish(tx, placed(`k${n % 3}`, n));
        })
        .catch((err: unknown) => {
          expect(err).toSatisfy(isTransientDbError);
          seen.refused += 1;
        });
      await pause(5);
    }
  })();
  const broker = (async () => {
    for (let at = 0; delivering; ) {
      const event = stored[at];
      const body = new TextEncoder().encode(JSON.stringify(event));
      const answer = event && (await consumer.receive('orders', body, {}));
      if (answer === 'done') at += 1;
      else await pause(10);
      if (answer === 'retry') seen.retries += 1;
    }
  })();

  return {
    admin,
    database,
    seen,
    /** Waits until something new was written, sent and applied. */
    async flows(): Promise<void> {
      const from = stored.length;
      await eventually(async () => {
        expect(stored.length).toBeGreaterThan(from + 5);
        const { n: newest } = (stored[from + 5] as CloudEvent).data as { n: number };
        expect(await admin`SELECT FROM applied WHERE n = ${newest}`).toHaveLength(1);
      }, 30_000);
    },
    async stop(): Promise<void> {
      writing = false;
      await writer;
      await eventually(async () => {
        const [left] = await admin<{ n: number }[]>`SELECT count(*)::int AS n FROM outbox`;
        expect(left?.n).toBe(0);
        const [row] = await admin<{ written: number; applied: number; distinct: number }[]>`
          SELECT (SELECT count(*) FROM written)::int AS written, count(*)::int AS applied, count(DISTINCT n)::int AS distinct
          FROM applied`;
        expect([row?.applied, row?.distinct]).toEqual([row?.written, row?.written]);
      }, 20_000);
      delivering = false;
      await broker;
      const wrong = await admin`
        SELECT n FROM (SELECT n, lag(n) OVER (PARTITION BY n % 3 ORDER BY id) AS before FROM applied) AS a WHERE before > n`;
      expect(wrong).toEqual([]);
      expect(await admin`SELECT reason, detail FROM dead_letter`).toEqual([]);
    },
  };
}

test('PostgreSQL is restarted, crashes, and one of its backends is killed: all goes on, and all is applied once, in order', async (context) => {
  const { url, server } = await ownPostgres(context);
  const traffic = await openTraffic(url);
  await traffic.flows();
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
    const { restarts } = server;
    server.kill(signal);
    await eventually(() => expect([server.restarts, server.state]).toEqual([restarts + 1, 'ready']), 30_000);
    await traffic.flows();
  }
  // The server takes all other sessions with it.
  const [backend] = await traffic.admin<{ pid: number }[]>`
    SELECT pid FROM pg_stat_activity WHERE application_name = 'app-relay'`;
  process.kill(backend?.pid as number, 'SIGKILL');
  await traffic.flows();
  expect(traffic.seen.refused).toBeGreaterThan(0);
  await traffic.stop();
});

test('the sessions of the relay, which is the one that listens, and of the pool are ended again and again', async () => {
  const traffic = await openTraffic();
  for (const name of ['app-relay', 'app', 'app-relay', 'app']) {
    await traffic.flows();
    const ended = await traffic.admin<{ ended: boolean }[]>`
      SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = ${name}`;
    expect(ended, name).toContainEqual({ ended: true });
  }
  await traffic.flows();
  await traffic.stop();
});

test('a pool of which nothing is left: messages come again, and are handled when there is', async () => {
  const traffic = await openTraffic();
  await traffic.flows();
  const free = Promise.withResolvers<void>();
  const holders = Array.from({ length: 5 }, () =>
    traffic.database.db.transaction(async (tx) => {
      await tx.execute(sql`SELECT 1`);
      await free.promise;
    }),
  );
  await eventually(() => expect(traffic.seen.retries).toBeGreaterThan(1));
  free.resolve();
  await Promise.all(holders);
  await traffic.flows();
  await traffic.stop();
});

test.for([
  ['the tables', 'base', {}, /could not extend file .*No space left on device/],
  [
    'the log of PostgreSQL, which crashes of it,',
    'pg_wal',
    { max_wal_size: '32MB', min_wal_size: '32MB' },
    /PANIC: .*No space left on device/,
  ],
] as const)('the disk for %s is full for a while', async ([, part, settings, logged], context) => {
  const small = { part, megabytes: 64 };
  const { url, server, fill, free } = await ownPostgres(context, { small, settings });
  const traffic = await openTraffic(url);
  await traffic.flows();
  fill();
  // Until what is allocated already is used up as well.
  const { refused } = traffic.seen;
  if (part === 'pg_wal')
    await traffic.admin`CREATE TABLE more AS SELECT n, repeat('x', 1000) FROM generate_series(1, 100000) AS n`.catch(
      () => {},
    );
  await eventually(() => expect(traffic.seen.refused).toBeGreaterThan(refused + 5), 30_000);
  expect(readFileSync(server.logFile, 'utf8')).toMatch(logged);
  free();
  await eventually(() => expect(server.state).toBe('ready'), 30_000);
  await traffic.flows();
  await traffic.stop();
});
