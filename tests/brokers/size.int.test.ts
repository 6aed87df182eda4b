import { join } from 'node:path';
import { serve } from '@hono/node-server';
import { createApp } from '@sidecart/kit/app';
import { createDapr } from '@sidecart/kit/dapr';
import { TEST_TOKEN, testDeps } from '@sidecart/kit/testing';
import { createConsumer, mountConsumer } from '@sidecart/messaging/consumer';
import { buildEnvelope, type StoredHeaders } from '@sidecart/messaging/envelope';
import { on } from '@sidecart/messaging/handler';
import { MAX_MESSAGE_BYTES } from '@sidecart/messaging/limits';
import { createOutbox, MessageTooLargeError } from '@sidecart/messaging/outbox';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { jetstreamBroker } from '../../local/jetstream-broker.ts';
import { freePort } from '../../local/ports.ts';
import { ensurePrograms } from '../../local/programs/programs.ts';
import { type Fixture, openFixture } from '../../packages/messaging/src/fixture.ts';
import { until } from '../waiting.ts';
import { openSidecarRig } from './sidecar-rig.ts';

// What `publish` lets pass, through two real sidecars and a real broker: the sidecar writes each message anew, and longer.

const TABLE = `
namespace: shop
broker: jetstream
services:
  edge: { port: 8080, database: false, replicas: 1, edge: true }
  books: { port: 8101, database: true, replicas: 1, topic: { lanes: 1 } }
  readers: { port: 8102, database: true, replicas: 1, consumes: [books] }
`;

const data = z.object({ key: z.string(), text: z.string() });
const outbox = createOutbox({
  service: 'books',
  catalog: { BookAdded: { topic: 'books', kind: 'fact', schema: data, key: (d) => d.key } },
  owns: ['books'],
});

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('size');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

const write = (text: string) =>
  fixture.database.db.transaction((tx) =>
    outbox.publish(tx, { type: 'BookAdded', data: { key: 'k', text } }),
  );

/** By how many bytes `publish` finds a message with this text too long. */
async function excess(text: string): Promise<number> {
  const err = await write(text).catch((caught: unknown) => caught);
  expect(err).toBeInstanceOf(MessageTooLargeError);
  return (err as MessageTooLargeError).bytes - MAX_MESSAGE_BYTES;
}

/** The message in the outbox, as the relay publishes it. */
async function envelope() {
  const [row] = await fixture.admin<
    { event_id: string; payload: z.infer<typeof data>; headers: StoredHeaders }[]
  >`SELECT event_id, payload, headers FROM outbox`;
  if (!row) throw new Error('Nothing was written');
  const { event_id: eventId, payload, headers } = row;
  const message = { topic: 'books', msgKey: 'k', eventId, keySeq: '1', type: 'BookAdded', payload, headers };
  return buildEnvelope('books', message);
}

const effects = async () => (await fixture.admin<{ n: number }[]>`SELECT n FROM effect`).map(({ n }) => n);

/** A broker, and a sidecar on each side of it. */
async function openRig() {
  const rig = await openSidecarRig({ table: TABLE, broker: 'jetstream' });
  const { natsServer } = await ensurePrograms({ env: process.env, only: ['natsServer'], progress: () => {} });
  const port = await freePort();
  const command = { program: natsServer.path, folder: rig.folder, port, password: 'secret' };
  rig.run(jetstreamBroker.command(command), 'nats.log');
  const streams = join(rig.folder, 'components/brokers/jetstream-streams.generated.yaml');
  const tasks = jetstreamBroker.tasks(jetstreamBroker.url(port, 'secret'), streams);
  await until('the broker to answer', () => tasks.ping().then(() => true));
  await tasks.prepare();
  const broker = jetstreamBroker.secret(port, 'secret');

  const deps = testDeps('readers');
  const handler = on(data, async (tx, message) => {
    await tx.execute(sql`INSERT INTO effect VALUES (${message.data.text.length})`);
  });
  const topics = { books: { kind: 'fact' as const, handlers: { BookAdded: handler } } };
  const app = createApp(deps);
  mountConsumer(app, createConsumer({ ...deps, database: fixture.database, topics }));
  const appPort = await freePort();
  const server = serve({ fetch: app.fetch, port: appPort, hostname: '127.0.0.1' });
  onTestFinished(() => void server.close());

  const sender = await rig.startSidecar('books', { broker });
  await rig.startSidecar('readers', { broker, app: { port: appPort, token: TEST_TOKEN } });
  const dapr = createDapr({ httpPort: sender.http, apiToken: '' });
  return { publish: (event: object) => dapr.publish('pubsub-books', 'books', event) };
}

test.for([
  ['<', 6],
  ['&', 6],
  ['\u2028', 6],
  ['\u20ac', 3],
  ['x', 1],
] as const)(
  'the longest text of %j that publish takes gets through; with a byte more it is refused',
  async ([character, bytes]) => {
    const many = character.repeat(Math.floor(MAX_MESSAGE_BYTES / bytes));
    const over = await excess(many);
    const without = Math.ceil(over / bytes);
    const longest = many.slice(0, -without) + 'x'.repeat(without * bytes - over);
    expect(await excess(`${longest}x`)).toBe(1);
    await write(longest);

    const { publish } = await openRig();
    await publish(await envelope());
    await until('it to be handled', async () => (await effects()).length > 0);
    expect(await effects()).toEqual([longest.length]);
  },
);

test('control: one that fits by its length as it was written does not get through', async () => {
  await write('short');
  const event = await envelope();
  const text = '<'.repeat(1024 * 1024);
  const { publish } = await openRig();
  await expect(publish({ ...event, data: { key: 'k', text } })).rejects.toThrow('maximum payload');
});
