import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '@hono/node-server';
import { createApp } from '@sidecart/kit/app';
import { createDapr } from '@sidecart/kit/dapr';
import { TEST_TOKEN, testDeps } from '@sidecart/kit/testing';
import { createConsumer, mountConsumer } from '@sidecart/messaging/consumer';
import { on } from '@sidecart/messaging/handler';
import { delivery } from '@sidecart/messaging/testing';
import { sql } from 'drizzle-orm';
import { Hono } from 'hono';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { jetstreamBroker } from '../../local/jetstream-broker.ts';
import { freePort } from '../../local/ports.ts';
import { ensurePrograms } from '../../local/programs/programs.ts';
import { type Fixture, openFixture } from '../../packages/messaging/src/fixture.ts';
import { ensureStreams, readBrokerWanted, withBroker } from '../../platform/streams.ts';
import { until } from '../waiting.ts';
import { type Change, openSidecarRig } from './sidecar-rig.ts';

// Real sidecars and a real broker in front of a receiver of the kit's own making.

const TABLE = `
namespace: shop
broker: jetstream
services:
  edge: { port: 8080, database: false, replicas: 1, edge: true }
  books: { port: 8101, database: true, replicas: 1, topic: { lanes: 2 } }
  readers: { port: 8102, database: true, replicas: 1, consumes: [books] }
`;

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('jetstream');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

const effects = async () =>
  (await fixture.admin<{ n: number }[]>`SELECT n FROM effect ORDER BY n`).map(({ n }) => n);

/**
 * The broker and the sender's sidecar; the reader's, and what it delivers to, are for the test to start.
 * @param o.streamsOnly leaves the consumers to the sidecars
 */
async function openRig(o: { changes?: readonly Change[]; streamsOnly?: boolean } = {}) {
  const { changes = [] } = o;
  const rig = await openSidecarRig({ table: TABLE, broker: 'jetstream', changes });
  const { natsServer } = await ensurePrograms({ env: process.env, only: ['natsServer'], progress: () => {} });
  const port = await freePort();
  const password = 'secret';
  rig.run(
    jetstreamBroker.command({ program: natsServer.path, folder: rig.folder, port, password }),
    'nats.log',
  );
  const streams = join(rig.folder, 'components/brokers/jetstream-streams.generated.yaml');
  const url = jetstreamBroker.url(port, password);
  const tasks = jetstreamBroker.tasks(url, streams);
  await until('the broker to answer', () => tasks.ping().then(() => true));
  if (o.streamsOnly) await ensureStreams(url, readBrokerWanted(streams).streams);
  else await tasks.prepare();
  const broker = jetstreamBroker.secret(port, password);
  const sender = await rig.startSidecar('books', { broker });
  const dapr = createDapr({ httpPort: sender.http, apiToken: '' });
  const app = { port: await freePort(), token: TEST_TOKEN };
  return {
    appPort: app.port,
    startReader: (ready?: 'healthz/outbound') =>
      rig.startSidecar('readers', { broker, app, ...(ready && { ready }) }),
    async publish(...numbers: number[]): Promise<void> {
      for (const n of numbers) {
        const event = JSON.parse(delivery('BookAdded', { n }, { id: `m${n}`, key: `k${n}` }));
        await dapr.publish('pubsub-books-0', 'books', event);
      }
    },
    /** Loses all that the broker has, and makes it again as a program does that never saw it. */
    async loseAll(): Promise<void> {
      await withBroker(url, (jsm) => jsm.streams.delete('books'));
      await jetstreamBroker.tasks(url, streams).prepare();
    },
  };
}

/** Listens until the end of the test, or until what it returns is called. */
function listen(
  app: { fetch: (request: Request) => Response | Promise<Response> },
  port: number,
): () => Promise<void> {
  const server = serve({ fetch: app.fetch, port, hostname: '127.0.0.1' });
  const close = () =>
    new Promise<void>((done) => {
      server.close(() => done());
      if ('closeAllConnections' in server) server.closeAllConnections();
    });
  onTestFinished(close);
  return close;
}

/** The app that a service makes; without `routes` it does not take messages yet. */
function reader(
  o: { routes?: boolean; during?: (n: number) => Promise<void>; handlerTimeoutMs?: number } = {},
) {
  const deps = testDeps('readers');
  const handler = on(z.object({ n: z.int() }), async (tx, { data }) => {
    await o.during?.(data.n);
    await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`);
  });
  const consumer = createConsumer({
    ...deps,
    database: fixture.database,
    topics: { books: { kind: 'fact', handlers: { BookAdded: handler } } },
    ...(o.handlerTimeoutMs && { handlerTimeoutMs: o.handlerTimeoutMs }),
  });
  const seen: number[] = [];
  const now = { deliveries: 0, most: 0 };
  const app = createApp(deps);
  app.use('/messages/*', async (c, next) => {
    now.deliveries += 1;
    now.most = Math.max(now.most, now.deliveries);
    await next();
    now.deliveries -= 1;
    seen.push(c.res.status);
  });
  if (o.routes ?? true) mountConsumer(app, consumer);
  return { app, seen, now };
}

const numbers = [1, 2, 3, 4, 5, 6];

/** The broker delivers again after a second; the component and the list that the consumer is made from say the same. */
const soonAgain: readonly Change[] = [
  ['ackWait\n      value: 20s', 'ackWait\n      value: 1s'],
  ['ack_wait: 20000000000', 'ack_wait: 1000000000'],
];

test.for([
  ['sidecars that run are served again', {}, [1, 2, 3]],
  ['control: those whose consumers they made themselves are not', { streamsOnly: true }, [1]],
] as const)('a broker that lost everything, twice: %s', async ([, o, handled]) => {
  const rig = await openRig(o);
  listen(reader().app, rig.appPort);
  await rig.startReader();
  await rig.publish(1);
  await until('it to be handled', async () => (await effects()).length === 1);
  for (const n of [2, 3]) {
    await rig.loseAll();
    await rig.publish(n);
    await sleep(2_000);
  }
  expect(await effects()).toEqual(handled);
});

test('an app without its route, a sidecar before its app, an app before its sidecar: nothing is dropped', async () => {
  const rig = await openRig({ changes: soonAgain });
  await rig.publish(1, 2);
  const bare = reader({ routes: false });
  const close = listen(bare.app, rig.appPort);
  const first = await rig.startReader(); // the app before its sidecar
  await until('deliveries to be refused', () => bare.seen.length >= 2);
  expect(new Set(bare.seen)).toEqual(new Set([503]));
  await close();
  await first.kill();

  await rig.startReader('healthz/outbound'); // the sidecar before its app
  await rig.publish(3, 4);
  await sleep(500);
  expect(await effects()).toEqual([]);
  listen(reader().app, rig.appPort);
  await rig.publish(5, 6);
  await until('all to be handled', async () => (await effects()).length === numbers.length);
  expect(await effects()).toEqual(numbers);
});

test('control: an app that answers 404 loses what is delivered to it', async () => {
  const rig = await openRig();
  let deliveries = 0;
  const app = new Hono().all('*', (c) => {
    if (c.req.path.startsWith('/messages')) deliveries += 1;
    return c.body(null, c.req.path.startsWith('/messages') ? 404 : 200);
  });
  const close = listen(app, rig.appPort);
  const first = await rig.startReader();
  await rig.publish(...numbers);
  await until('all to be delivered', () => deliveries >= numbers.length);
  await close();
  await first.kill();
  listen(reader().app, rig.appPort);
  await rig.startReader();
  await rig.publish(7);
  await until('the next one to be handled', async () => (await effects()).length > 0);
  expect(await effects()).toEqual([7]);
});

test('messages that always fail are set aside: more of them than the broker lets wait unanswered hold up no other', async () => {
  const rig = await openRig();
  const during = async (n: number) => {
    if (n >= 100) throw new Error('a bug');
  };
  listen(reader({ during }).app, rig.appPort);
  await rig.startReader();
  await rig.publish(...Array.from({ length: 33 }, (_, i) => 100 + i));
  await rig.publish(...numbers);
  // A lane is at each of them for 1.5 s, once; left to the broker, 32 of them would be all that it delivers.
  await until('the others to be handled', async () => (await effects()).length === numbers.length, 50_000);
  expect(await effects()).toEqual(numbers);
  await until('all that fail to be kept', async () => {
    const kept = await fixture.admin`SELECT FROM inbox_failing`;
    return kept.length === 33;
  });
});

/** The broker gives up on a handler that goes on; both sidecar and app would wait for longer. */
const impatient: readonly Change[] = [...soonAgain, ['deliver: 3s', 'deliver: 20s']];

/** `enough`: with so many effects of the first message the test has seen what it wanted; the broker may go on delivering it. */
async function slowHandler(enough: number) {
  const rig = await openRig({ changes: impatient });
  const handlers = { running: 0, most: 0, ended: 0 };
  // Which lane another delivery comes on is the broker's choice; on the same one it waits for this one to end.
  const during = async (n: number) => {
    handlers.running += 1;
    handlers.most = Math.max(handlers.most, handlers.running);
    for (let waited = 0; n === 1 && waited < 4_000 && now.deliveries < 2; waited += 50) await sleep(50);
    await sleep(1_000);
    handlers.running -= 1;
    handlers.ended += 1;
  };
  const { app, now } = reader({ during, handlerTimeoutMs: 15_000 });
  listen(app, rig.appPort);
  await rig.startReader();
  await rig.publish(1);
  await until('it to be handled', async () => {
    if (enough > 1) return (await effects()).length >= enough;
    return handlers.ended > 0 && handlers.running === 0 && now.deliveries === 0;
  });
  await rig.publish(2);
  await until('what is behind it to be handled', async () => (await effects()).includes(2));
  return { deliveries: now.most, handlers: handlers.most, effects: await effects() };
}

test('a handler that the broker gives up on while it works: another delivery comes beside it, and there is one effect', async () => {
  const { deliveries, effects: seen } = await slowHandler(1);
  expect(deliveries).toBeGreaterThan(1);
  expect(seen).toEqual([1, 2]);
});

test('control: without the key of the inbox the two run side by side and both have their effect', async () => {
  await fixture.admin`ALTER TABLE inbox DROP CONSTRAINT inbox_pkey`;
  try {
    const { handlers, effects: seen } = await slowHandler(2);
    expect(handlers).toBeGreaterThan(1);
    expect(seen.filter((n) => n === 1).length).toBeGreaterThan(1);
  } finally {
    await fixture.admin.unsafe(
      'TRUNCATE inbox; ALTER TABLE inbox ADD CONSTRAINT inbox_pkey PRIMARY KEY (topic, event_id)',
    );
  }
});
