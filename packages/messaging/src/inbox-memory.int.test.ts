import { jetstream } from '@nats-io/jetstream';
import { createLogger } from '@sidecart/kit/log';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createConsumer } from './consumer.ts';
import type { CloudEvent } from './envelope.ts';
import { catalog, eventually, type Fixture, openFixture, outbox, pause, placed } from './fixture.ts';
import { openBroker } from './fixture-broker.ts';
import { connectBroker, publishTo } from './fixture-nats.ts';
import { on } from './handler.ts';
import { purgeInbox } from './inbox.ts';
import { createMessaging } from './messaging.ts';
import { delivery } from './testing.ts';

// What the broker and the inbox remember, and what is said when they no longer do.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('inbox_memory');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

function open(o: { ordered?: boolean } = {}) {
  const errors: string[] = [];
  const destination = {
    write: (line: string) => void (line.includes('"error"') && errors.push(JSON.parse(line).message)),
  };
  const deps = {
    ...testDeps('inventory'),
    log: createLogger({ service: 'inventory', level: 'debug', destination }),
  };
  const handle = on(
    catalog.Placed.schema,
    async (tx, { data }) => void (await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`)),
    { ordered: o.ordered ?? false },
  );
  const topics = { orders: { kind: 'fact' as const, handlers: { Placed: handle } } };
  const consumer = createConsumer({ ...deps, database: fixture.database, topics, sweepMs: 50 });
  const receive = (event: object) =>
    consumer.receive('orders', new TextEncoder().encode(JSON.stringify(event)), {});
  return { ...deps, consumer, receive, errors };
}

const effects = async () => (await fixture.admin<{ n: number }[]>`SELECT n FROM effect`).map(({ n }) => n);
const DAY = 24 * 60 * 60 * 1000;
const message = (id: string, daysAgo: number) => ({
  ...JSON.parse(delivery('Placed', { key: 'k', n: 1 }, { id, key: 'k' })),
  time: new Date(Date.now() - daysAgo * DAY).toISOString(),
});

test('published once more after the broker has forgotten its id, it is stored twice and has one effect', async () => {
  const broker = await openBroker(process.env, ['orders']); // which remembers for 100 ms
  onTestFinished(() => broker.close());
  const connection = await connectBroker(broker.url);
  onTestFinished(() => connection.close());
  const publish = publishTo(jetstream(connection));
  const event = message('m1', 0) as CloudEvent;
  await publish('orders', event);
  await publish('orders', event);
  expect(await broker.messages('orders')).toHaveLength(1);
  await eventually(async () => {
    await pause(150);
    await publish('orders', event);
    expect(await broker.messages('orders')).toHaveLength(2);
  });
  const { receive } = open();
  for (const stored of await broker.messages('orders')) expect(await receive(stored)).toBe('done');
  expect(await effects()).toEqual([1]);
});

test('the limit: what comes again after the inbox has forgotten it has a second effect, and that is said', async () => {
  const { receive, metrics, errors } = open();
  const forgotten = async () =>
    Number(/sidecart_inbox_forgotten_total\{[^}]*\} (\d+)/.exec(await metrics.registry.metrics())?.[1] ?? 0);
  await receive(message('m1', 0));
  await receive(message('old', 9));
  expect([await forgotten(), errors]).toEqual([
    1,
    [expect.stringContaining('older than the inbox remembers')],
  ]);
  await receive(message('old', 9)); // known, so nothing is to be said
  await fixture.admin`UPDATE inbox SET received_at = now() - interval '9 days' WHERE event_id = 'm1'`;
  await purgeInbox(fixture.database.db);
  expect(await effects()).toEqual([1, 1]);
  await receive(message('m1', 9));
  expect(await effects()).toEqual([1, 1, 1]);
  expect([await forgotten(), errors.length]).toEqual([2, 2]);
});

test('a message that was delayed for longer than the inbox remembers is not taken for one that comes again', async () => {
  await fixture.database.db.transaction((tx) => outbox.publish(tx, { ...placed('k', 1), delayMs: 0 }));
  await fixture.admin`
    UPDATE outbox_delayed SET headers = (headers::jsonb || '{"time": "2026-01-01T00:00:00.000Z"}')::json`;
  const published: CloudEvent[] = [];
  const dapr = {
    publish: async (_c: string, _t: string, event: object) => void published.push(event as CloudEvent),
  };
  const { workers } = createMessaging({
    ...testDeps('orders'),
    service: 'orders',
    catalog,
    topology: { publish: { orders: 'pubsub-orders' }, components: [] },
    dapr: dapr as never,
    database: fixture.database,
  });
  for (const { start } of workers) await start();
  onTestFinished(async () => void (await Promise.all(workers.map(({ stop }) => stop()))));
  await eventually(() => expect(published).toHaveLength(1));
  expect(published[0]?.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  const { receive, errors } = open();
  await receive(published[0] as CloudEvent);
  expect(errors).toEqual([]);
});

test('a gap that nothing fills shows as degraded after a while', async () => {
  const { consumer, receive, health, metrics } = open({ ordered: true });
  await consumer.worker.start();
  onTestFinished(consumer.worker.stop);
  await receive({ ...message('m2', 0), sequence: '2' });
  await eventually(async () =>
    expect(await metrics.registry.metrics()).toMatch(/sidecart_inbox_parked\{topic="orders"[^}]*\} 1/),
  );
  expect(health.details().components.inbox).toEqual({ status: 'ok' });
  await fixture.admin`UPDATE inbox_parked SET parked_at = now() - interval '2 minutes'`;
  await eventually(() =>
    expect(health.details().components.inbox).toMatchObject({
      status: 'degraded',
      reason: '1 key(s) of orders wait for a message that does not come',
    }),
  );
  await receive(message('m1', 0));
  await eventually(() => expect(health.details().components.inbox).toEqual({ status: 'ok' }));
  expect(await effects()).toEqual([1, 1]);
});

describe('a purge', () => {
  /** Rows deleted by each statement of a purge of 300, where there were any. */
  async function statements(o?: { pages: number }): Promise<number[]> {
    await fixture.admin.unsafe(`
      INSERT INTO inbox (topic, event_id, outcome, received_at)
        SELECT 'orders', 'old' || n, 'applied', now() - interval '9 days' FROM generate_series(1, 300) AS n;
      INSERT INTO inbox (topic, event_id, outcome) VALUES ('orders', 'new', 'applied');
      CREATE FUNCTION count_gone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
        'BEGIN INSERT INTO effect SELECT count(*) FROM gone; RETURN NULL; END';
      CREATE TRIGGER count_gone AFTER DELETE ON inbox REFERENCING OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION count_gone()`);
    try {
      expect(await purgeInbox(fixture.database.db, o)).toBe(300);
      expect(await fixture.admin`SELECT event_id FROM inbox`).toEqual([{ event_id: 'new' }]);
      return (await effects()).filter((rows) => rows > 0);
    } finally {
      await fixture.admin.unsafe('DROP TRIGGER count_gone ON inbox; DROP FUNCTION count_gone()');
    }
  }

  test('goes in parts, each of which takes no longer than a statement may, however much is too old', async () => {
    const parts = await statements({ pages: 1 });
    expect(parts.length).toBeGreaterThan(1);
    // No page of 8 KiB has room for more.
    expect(Math.max(...parts)).toBeLessThan(150);
  });

  test('control: what fits into one part is one statement', async () => {
    expect(await statements()).toEqual([300]);
  });
});
