import type { Dapr } from '@sidecart/kit/dapr';
import { connectDatabase, type Database } from '@sidecart/kit/db';
import type { Worker } from '@sidecart/kit/service';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { catalog, eventually, type Fixture, openFixture, pause, placed, remind } from './fixture.ts';
import { on } from './handler.ts';
import { createMessaging, type MessagingOptions } from './messaging.ts';

let fixture: Fixture;
let database: Database;
let running: Worker[] = [];
const published: string[] = [];

beforeAll(async () => {
  fixture = await openFixture('messaging');
});
beforeEach(async () => {
  await fixture.clear();
  published.length = 0;
  database = connectDatabase({ url: fixture.urls.url, applicationName: 'orders' });
});
afterEach(async () => {
  for (const worker of running.reverse()) await worker.stop();
  running = [];
  await database.close();
});
afterAll(() => fixture?.close());

/** A service's sending side, its sidecar apart. */
async function start(local?: MessagingOptions<typeof catalog>['local']) {
  const dapr = {
    async publish(_component: string, topic: string, event: { type?: string }) {
      if (topic !== 'probe') published.push(`${topic} ${event.type}`);
    },
    async shutdownSidecar() {},
  } as unknown as Dapr;
  const topology = { publish: { orders: 'pubsub-orders' }, components: ['pubsub-orders'] };
  const { outbox, workers } = createMessaging({
    ...testDeps('orders'),
    service: 'orders',
    catalog,
    topology,
    dapr,
    database,
    ...(local && { local }),
  });
  for (const worker of workers) {
    await worker.start();
    running.push(worker);
  }
  return outbox;
}

const effects = async () =>
  (await fixture.admin<{ n: number }[]>`SELECT n FROM effect ORDER BY n`).map(({ n }) => n);

test('a message to oneself, one in a while and what its handler publishes arrive, each long before the next poll', async () => {
  const outbox = await start((own) => ({
    Remind: on(catalog.Remind.schema, async (tx, { data }) => {
      await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`);
      await own.publish(tx, placed(data.key, data.n));
    }),
  }));
  await pause(300);
  const began = performance.now();
  await database.db.transaction(async (tx) => {
    await outbox.send(tx, remind('k', 1), { ...remind('k', 2), delayMs: 300 });
  });
  await eventually(async () => expect(await effects()).toEqual([1]));
  await eventually(() => expect(published).toEqual(['orders Placed']));
  expect(performance.now() - began).toBeLessThan(1000);
  await eventually(async () => expect(await effects()).toEqual([1, 2]));
  await eventually(() => expect(published).toEqual(['orders Placed', 'orders Placed']));
});

test('without local handlers there is no worker for them, and nothing can be sent to them', async () => {
  const outbox = await start();
  expect(running.map(({ name }) => name)).toEqual([
    'relay',
    'delayed-release',
    'broker-watch',
    'housekeeping',
  ]);
  const sending = database.db.transaction((tx) => outbox.send(tx, remind('k', 1)));
  await expect(sending).rejects.toThrow('orders has no local handler for Remind');
});
