import { currentContext, newTraceparent, traceIdOf } from '@sidecart/kit/context';
import { connectDatabase, type Transaction } from '@sidecart/kit/db';
import { DomainError } from '@sidecart/kit/domain-error';
import { createLogger } from '@sidecart/kit/log';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import { Hono } from 'hono';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type Consumer, type ConsumerOptions, createConsumer, mountConsumer } from './consumer.ts';
import { PermanentError } from './failures.ts';
import { eventually, type Fixture, type FixtureData, openFixture, outbox, pause, placed } from './fixture.ts';
import { type Message, on } from './handler.ts';
import { createHousekeeping } from './housekeeping.ts';
import { delivery } from './testing.ts';

const Placed = z.object({ key: z.string(), n: z.int() });

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('consumer');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

type Handle = (tx: Transaction, message: Message<FixtureData>) => Promise<void>;

const apply: Handle = async (tx, { data }) => {
  await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`);
};

interface LogLine {
  level: string;
  message: string;
}

function open(handle: Handle = apply, o: Partial<ConsumerOptions> = {}) {
  const lines: LogLine[] = [];
  const log = createLogger({
    service: 'inventory',
    level: 'debug',
    destination: { write: (line: string) => void lines.push(JSON.parse(line)) },
  });
  const deps = { ...testDeps('inventory'), log };
  const consumer = createConsumer({
    ...deps,
    database: fixture.database,
    topics: {
      orders: { kind: 'fact', handlers: { Placed: on(Placed, handle) } },
      'commands.inventory': { kind: 'command', handlers: { Reserve: on(Placed, handle) } },
    },
    ...o,
  });
  return { ...deps, consumer, lines };
}

const bytes = (text: string) => new TextEncoder().encode(text);
const send = (consumer: Consumer, body: string, topic = 'orders') =>
  consumer.receive(topic, bytes(body), {
    'content-type': 'application/cloudevents+json',
    'dapr-api-token': 'secret',
  });
const message = (id: string, n = 1, type = 'Placed') =>
  delivery(type, { key: 'k', n }, { id, key: 'k', actor: 'user:1' });

const effects = async () =>
  (await fixture.admin<{ n: number }[]>`SELECT n FROM effect ORDER BY n`).map((r) => r.n);
const inboxRows = () => fixture.admin`SELECT topic, event_id, outcome FROM inbox ORDER BY event_id`;
const deadLetters = () => fixture.admin`SELECT * FROM dead_letter ORDER BY id`;

describe('a message that can be handled', () => {
  test('is applied once, however often it comes', async () => {
    const { consumer, metrics } = open();
    for (let i = 0; i < 3; i++) expect(await send(consumer, message('m1'))).toBe('done');
    expect(await effects()).toEqual([1]);
    const exposed = await metrics.registry.metrics();
    expect(exposed).toMatch(
      /sidecart_inbox_handled_total\{topic="orders",type="Placed",outcome="applied"[^}]*\} 1/,
    );
    expect(exposed).toMatch(
      /sidecart_inbox_handled_total\{topic="orders",type="Placed",outcome="duplicate"[^}]*\} 2/,
    );
  });

  test('is applied once when it comes twice at the same moment, also when the first of them fails', async () => {
    let calls = 0;
    const { consumer } = open(async (tx, m) => {
      calls += 1;
      const first = calls === 1;
      await apply(tx, m);
      await pause(150);
      if (first) throw new Error('rolled back');
    });
    const [first, second, third] = await Promise.all([
      send(consumer, message('m1')),
      pause(30).then(() => send(consumer, message('m1'))),
      pause(60).then(() => send(consumer, message('m1'))),
    ]);
    expect([first, second, third].sort()).toEqual(['done', 'done', 'retry']);
    expect(await effects()).toEqual([1]);
  });

  test('control: without the key of the inbox it is applied twice', async () => {
    const { admin } = fixture;
    await admin`ALTER TABLE inbox DROP CONSTRAINT inbox_pkey`;
    try {
      const { consumer } = open();
      for (let i = 0; i < 2; i++) await send(consumer, message('m1'));
      expect(await effects()).toEqual([1, 1]);
    } finally {
      await admin`TRUNCATE inbox`;
      await admin`ALTER TABLE inbox ADD CONSTRAINT inbox_pkey PRIMARY KEY (topic, event_id)`;
    }
  });

  test('control: with the inbox row in a transaction of its own a failure loses the effect', async () => {
    const { database } = fixture;
    const twoTransactions = async (id: string, effect: () => Promise<unknown>) => {
      const first = await database.sql`
        INSERT INTO inbox VALUES ('orders', ${id}, 'applied') ON CONFLICT DO NOTHING RETURNING 1`;
      if (first.length > 0) await effect();
    };
    await expect(twoTransactions('m1', () => Promise.reject(new Error('away')))).rejects.toThrow('away');
    await twoTransactions('m1', () => database.sql`INSERT INTO effect VALUES (1)`);
    expect(await effects()).toEqual([]);
  });

  test('the same id on another topic is another message', async () => {
    const { consumer } = open();
    await send(consumer, message('m1', 1));
    await send(consumer, message('m1', 2, 'Reserve'), 'commands.inventory');
    expect(await effects()).toEqual([1, 2]);
  });

  test('is handled in its own context, and what the handler sends goes on from there', async () => {
    const traceparent = newTraceparent();
    const seen: unknown[] = [];
    const { consumer } = open(async (tx, m) => {
      seen.push(m, currentContext());
      await outbox.publish(tx, placed('k', 2));
    });
    const body = JSON.parse(message('m1'));
    await send(
      consumer,
      JSON.stringify({ ...body, traceparent, correlationid: 'c1', causationid: 'r1', customerid: 'cu1' }),
    );
    expect(seen[0]).toEqual({
      id: 'm1',
      type: 'Placed',
      key: 'k',
      sequence: '1',
      actor: 'user:1',
      customerId: 'cu1',
      correlationId: 'c1',
      causationId: 'r1',
      data: { key: 'k', n: 1 },
    });
    expect(seen[1]).toMatchObject({
      actor: 'user:1',
      customerId: 'cu1',
      correlationId: 'c1',
      causationId: 'm1',
    });
    const [row] = await fixture.admin`SELECT headers FROM outbox`;
    expect(row?.headers).toMatchObject({
      correlationid: 'c1',
      causationid: 'm1',
      actor: 'user:1',
      customerid: 'cu1',
    });
    expect(traceIdOf(row?.headers.traceparent)).toBe(traceIdOf(traceparent));
  });

  test('a fact without a handler is recorded as seen', async () => {
    const { consumer } = open();
    expect(await send(consumer, message('m1', 1, 'SomethingNew'))).toBe('done');
    expect(await inboxRows()).toMatchObject([{ topic: 'orders', event_id: 'm1', outcome: 'unhandled' }]);
    expect(await deadLetters()).toEqual([]);
  });

  test('unknown fields and attributes are ignored', async () => {
    const { consumer } = open();
    const body = {
      ...JSON.parse(message('m1')),
      pubsubname: 'pubsub-orders',
      topic: 'orders',
      traceid: '',
      extra: 1,
      data: { key: 'k', n: 7, more: true },
    };
    expect(await send(consumer, JSON.stringify(body))).toBe('done');
    expect(await effects()).toEqual([7]);
  });
});

describe('a message that can never be handled', () => {
  const cases: [string, string, string, string, Handle?][] = [
    ['no JSON', 'orders', '{"id": "m1', 'envelope'],
    ['bytes that are no text', 'orders', '\ud800\u0000', 'envelope'],
    [
      'an envelope without key and number',
      'orders',
      JSON.stringify({ specversion: '1.0', id: 'm1', type: 'Placed', data: {} }),
      'envelope',
    ],
    ['data that breaks its schema', 'orders', message('m1', 0.5), 'schema'],
    ['an unknown command', 'commands.inventory', message('m1', 1, 'Explode'), 'unknown_type'],
    [
      'a command named like a property of every object',
      'commands.inventory',
      message('m1', 1, 'toString'),
      'unknown_type',
    ],
    [
      'a broken invariant',
      'orders',
      message('m1'),
      'invariant',
      async (tx, m) => {
        await apply(tx, m);
        throw new PermanentError('already shipped \0');
      },
    ],
    [
      'a rule that says no',
      'orders',
      message('m1'),
      'invariant',
      async (tx, m) => {
        await apply(tx, m);
        throw new DomainError('conflict', 'already_shipped');
      },
    ],
    [
      'a broken constraint',
      'orders',
      message('m1'),
      'invariant',
      async (tx) => {
        await tx.execute(sql`INSERT INTO effect VALUES (NULL)`);
      },
    ],
  ];
  for (const [name, topic, body, reason, handle] of cases) {
    test(`${name}: is kept whole with its reason, once, and has no effect`, async () => {
      const { consumer, health, metrics } = open(handle);
      expect(await send(consumer, body, topic)).toBe('done');
      expect(await send(consumer, body, topic)).toBe('done');
      const [dead, ...more] = await deadLetters();
      expect(more).toEqual([]);
      expect(dead).toMatchObject({
        topic,
        reason,
        attempts: 1,
        headers: { 'content-type': 'application/cloudevents+json' },
      });
      expect(Buffer.from(dead?.body)).toEqual(Buffer.from(bytes(body)));
      expect(dead?.headers).not.toHaveProperty('dapr-api-token');
      expect(await inboxRows()).toMatchObject([{ topic, event_id: dead?.event_id, outcome: 'dead_letter' }]);
      expect(await effects()).toEqual([]);
      expect(health.details().components.dead_letters?.status).toBe('degraded');
      expect(await metrics.registry.metrics()).toMatch(/sidecart_dead_letters\{[^}]*\} 1/);
    });
  }

  test('many at once are not counted at each of them: a count reads all that wait', async () => {
    const statements: string[] = [];
    const watched = postgres(fixture.urls.url, { debug: (_, statement) => void statements.push(statement) });
    const database = { ...fixture.database, sql: watched, db: drizzle(watched) };
    const { consumer } = open(apply, { database });
    for (let n = 0; n < 10; n += 1) await send(consumer, message(`m${n}`, 0.5));
    await watched.end();
    expect(await deadLetters()).toHaveLength(10);
    const counts = statements.filter((statement) => /count\(\*\) from "dead_letter"/.test(statement));
    expect(counts.length).toBeLessThan(5); // of the ten, however slow the machine is
  });

  test('is delivered again while the dead letter cannot be written', async () => {
    const { consumer } = open();
    await fixture.admin`ALTER TABLE dead_letter RENAME TO elsewhere`;
    try {
      expect(await send(consumer, message('m1', 0.5))).toBe('retry');
      expect(await inboxRows()).toEqual([]);
    } finally {
      await fixture.admin`ALTER TABLE elsewhere RENAME TO dead_letter`;
    }
    expect(await send(consumer, message('m1', 0.5))).toBe('done');
    expect(await deadLetters()).toMatchObject([{ attempts: 2 }]);
  });
});

describe('a message that cannot be handled now', () => {
  test('a bug: delivered again for ever, logged as an error once, never dead', async () => {
    let fixed = false;
    const { consumer, lines } = open(async (tx, m) => {
      if (!fixed) throw new TypeError('undefined is no function');
      await apply(tx, m);
    });
    for (let i = 0; i < 4; i++) expect(await send(consumer, message('m1'))).toBe('retry');
    expect(lines.filter((l) => l.level === 'error')).toHaveLength(1);
    expect(await deadLetters()).toEqual([]);
    fixed = true;
    expect(await send(consumer, message('m1'))).toBe('done');
    expect(await effects()).toEqual([1]);
  });

  const transient: [string, Handle][] = [
    [
      'a lost connection',
      async (tx) => void (await tx.execute(sql`SELECT pg_terminate_backend(pg_backend_pid())`)),
    ],
    [
      'a statement that takes too long',
      async (tx) => {
        await tx.execute(sql`SET LOCAL statement_timeout = 50`);
        await tx.execute(sql`SELECT pg_sleep(2)`);
      },
    ],
    [
      'a lock that is not given',
      async (tx) => {
        await tx.execute(sql`SET LOCAL lock_timeout = 50`);
        await fixture.admin.begin(async (other) => {
          await other`LOCK TABLE effect`;
          await tx.execute(sql`INSERT INTO effect VALUES (1)`);
        });
      },
    ],
    [
      'a serialization failure',
      async () => {
        throw Object.assign(new Error('could not serialize access'), { code: '40001' });
      },
    ],
  ];
  for (const [name, handle] of transient) {
    test(`${name}: delivered again, not logged as an error, no effect, never dead`, async () => {
      const { consumer, lines } = open(handle);
      expect(await send(consumer, message('m1'))).toBe('retry');
      expect(lines.filter((l) => l.level === 'error')).toEqual([]);
      expect(await inboxRows()).toEqual([]);
      expect(await deadLetters()).toEqual([]);
    });
  }

  test('a database that is away: delivered again, also what is broken beyond repair', async () => {
    const database = connectDatabase({ url: 'postgres://nobody@127.0.0.1:1/none', applicationName: 'away' });
    const { consumer, lines } = open(apply, { database });
    expect(await send(consumer, message('m1'))).toBe('retry');
    expect(await send(consumer, 'no envelope')).toBe('retry');
    expect(lines.filter((l) => l.level === 'error')).toEqual([]);
    await database.close();
  });

  test('a handler that takes too long is answered in time; what it does after all counts once', async () => {
    let release = () => {};
    const { consumer } = open(
      async (tx, m) => {
        await apply(tx, m);
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      },
      { handlerTimeoutMs: 100 },
    );
    const began = performance.now();
    expect(await send(consumer, message('m1'))).toBe('retry');
    expect(performance.now() - began).toBeLessThan(1000);
    release();
    await eventually(async () => expect(await effects()).toEqual([1]));
    expect(await send(consumer, message('m1'))).toBe('done');
    expect(await effects()).toEqual([1]);
  });
});

describe('over HTTP', () => {
  test('SUCCESS, or 503 for what must come again; never 404', async () => {
    const { consumer } = open();
    const app = new Hono();
    mountConsumer(app, consumer);
    const post = (path: string, body: string) => app.request(path, { method: 'POST', body });
    const good = await post('/messages/orders', message('m1'));
    expect([good.status, await good.json()]).toEqual([200, { status: 'SUCCESS' }]);
    expect((await post('/messages/commands.inventory', message('m2', 1, 'Reserve'))).status).toBe(200);
    expect((await post('/messages/payments', message('m1'))).status).toBe(503);
    expect((await post('/messages/toString', message('m1'))).status).toBe(503);
    expect((await post('/messages/orders/more', message('m1'))).status).toBe(503);
  });
});

describe('housekeeping', () => {
  test('purges what no redelivery can ask for, and keeps the count of dead letters', async () => {
    const { consumer, health, ...deps } = open();
    await send(consumer, message('old'));
    await send(consumer, message('young'));
    await send(consumer, message('dead', 0.5));
    await fixture.admin`UPDATE inbox SET received_at = now() - interval '9 days' WHERE event_id = 'old'`;
    const housekeeping = createHousekeeping({
      ...deps,
      health,
      database: fixture.database,
      purgeMs: 20,
      reportMs: 20,
    });
    await housekeeping.start();
    await eventually(async () =>
      expect((await inboxRows()).map((r) => r.event_id)).toEqual(['dead', 'young']),
    );
    expect(health.details().components.dead_letters?.status).toBe('degraded');
    await fixture.admin`DELETE FROM dead_letter`;
    await eventually(() => expect(health.details().components.dead_letters?.status).toBe('ok'));
    await housekeeping.stop();
  });
});
