import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { AckPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connectDatabase } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { createConsumer } from './consumer.ts';
import { createDelayedRelease } from './delayed.ts';
import { connectBroker, publishTo } from './fixture-nats.ts';
import { on } from './handler.ts';
import { createOutbox } from './outbox.ts';
import { redriveDeadLetter } from './redrive.ts';
import { createRelay } from './relay.ts';

// Everything from the writing of messages to their effects in one process, for tests that kill it at any point or set its clock.
// It writes, waits until all is applied, and ends with 0. A message is {key, n}; `n` goes on from what was written before.

export interface PipelineOptions {
  senderUrl: string;
  receiverUrl: string;
  brokerUrl: string;
  /** Transactions of one to three messages. */
  writes: number;
  /** Time between two of them, in ms; default 0. */
  apartMs?: number;
  /** Dies right before or after the n-th write to a socket, of whatever connection: nothing else can be seen of it from outside. */
  die?: { at: number; when: 'before' | 'after' };
  /** For a control: publishes after the commit by itself, without the outbox. */
  withoutOutbox?: boolean;
  /** So many publishes at the beginning are not taken. */
  refusals?: number;
  /** Further messages, with key `late`, due so long after they were written. */
  delayMs?: number;
}

const o = JSON.parse(process.argv[2] ?? '') as PipelineOptions;
const schema = z.object({ key: z.string(), n: z.int() });
const Placed = {
  topic: 'orders',
  kind: 'fact' as const,
  schema,
  key: ({ key }: z.infer<typeof schema>) => key,
};
const outbox = createOutbox({ service: 'orders', catalog: { Placed }, owns: ['orders'] });
const sender = connectDatabase({ url: o.senderUrl, applicationName: 'pipeline' });
const receiver = connectDatabase({ url: o.receiverUrl, applicationName: 'pipeline' });
const connection = await connectBroker(o.brokerUrl);
const client = jetstream(connection);
const toBroker = publishTo(client);
let refusals = o.refusals ?? 0;
const relay = createRelay({
  ...testDeps('orders'),
  url: o.senderUrl,
  pollMs: 20,
  async publish(topic, event) {
    if (refusals-- > 0) throw new Error('not now');
    await toBroker(topic, event);
  },
});
const delayed = createDelayedRelease({ ...testDeps('orders'), database: sender, onReleased: relay.nudge });
/** Every fourth message fails twice in each process: it is set aside when it comes again, and fails there once more. */
const failures = new Map<number, number>();
const handler = on(
  schema,
  async (tx, { data }) => {
    const failed = failures.get(data.n) ?? 0;
    failures.set(data.n, failed + 1);
    if (data.n % 4 === 0 && failed < 2) throw new Error('not now');
    await tx.execute(sql`INSERT INTO applied (key, n) VALUES (${data.key}, ${data.n})`);
  },
  { ordered: !o.withoutOutbox },
);
const consumer = createConsumer({
  ...testDeps('inventory'),
  database: receiver,
  sweepMs: 100,
  setAsideMs: 0,
  topics: { orders: { kind: 'fact', handlers: { Placed: handler } } },
});

async function write(i: number): Promise<void> {
  const [row] = await sender.sql<{ n: number }[]>`SELECT coalesce(max(n), 0)::int AS n FROM written`;
  const placed = (key: string, n: number) => ({ type: 'Placed' as const, data: { key, n } });
  const messages = Array.from({ length: 1 + (i % 3) }, (_, m) =>
    placed(`k${(i + m) % 3}`, (row?.n ?? 0) + m + 1),
  );
  const late = (row?.n ?? 0) + messages.length + 1;
  await sender.db.transaction(async (tx) => {
    for (const { data } of messages) await tx.execute(sql`INSERT INTO written VALUES (${data.n})`);
    if (!o.withoutOutbox) await outbox.publish(tx, ...messages);
    if (o.delayMs === undefined) return;
    await tx.execute(sql`INSERT INTO written VALUES (${late})`);
    await outbox.publish(tx, { ...placed('late', late), delayMs: o.delayMs });
  });
  relay.nudge();
  delayed.nudge();
  if (!o.withoutOutbox) return;
  for (const { data } of messages) {
    const event = {
      id: `e${data.n}`,
      specversion: '1.0',
      type: 'Placed',
      partitionkey: data.key,
      sequence: '1',
      data,
    };
    await client.publish('orders', JSON.stringify(event), { msgID: event.id });
  }
}

async function consume(): Promise<void> {
  const manager = await jetstreamManager(connection);
  const durable = {
    durable_name: 'inventory',
    ack_policy: AckPolicy.Explicit,
    ack_wait: 1e9,
    max_ack_pending: 8,
  };
  await manager.consumers.add('orders', durable);
  const deliveries = await (await client.consumers.get('orders', 'inventory')).consume();
  for await (const message of deliveries)
    void consumer
      .receive('orders', message.data, {})
      .then((answer) => (answer === 'done' ? message.ack() : message.nak(50)));
}

const count = async (database: typeof sender, table: string) =>
  (await database.sql.unsafe<{ n: number }[]>(`SELECT count(*)::int AS n FROM ${table}`))[0]?.n ?? 0;

/** Who dies often enough in the handling of one message gets it buried as poison: an operator, who knows better, has it handled. */
async function redrivePoison(): Promise<void> {
  const letters = await receiver.sql<{ id: string }[]>`
    SELECT id FROM dead_letter WHERE reason = 'poison' AND state = 'waiting' ORDER BY id`;
  for (const { id } of letters)
    await redriveDeadLetter({ database: receiver, consumer }, BigInt(id), 'operator');
}

/** Counts writes from here on, and dies. */
function dieAtWrite({ at, when }: { at: number; when: 'before' | 'after' }): void {
  let writes = 0;
  const original = net.Socket.prototype.write as (...args: unknown[]) => boolean;
  const kill = () => {
    process.kill(process.pid, 'SIGKILL');
    for (;;); // not one step further
  };
  net.Socket.prototype.write = function (this: net.Socket, ...args: unknown[]) {
    writes += 1;
    if (writes === at && when === 'before') kill();
    const result = original.apply(this, args);
    if (writes === at) kill();
    return result;
  } as typeof net.Socket.prototype.write;
}

if (o.die) dieAtWrite(o.die);
await consumer.worker.start();
void consume();
await Promise.all([relay.start(), delayed.start()]);
for (let i = 0; i < o.writes; i++) {
  await write(i);
  await pause(o.apartMs ?? 0);
}
while ((await count(receiver, 'applied')) < (await count(sender, 'written'))) {
  await redrivePoison();
  await pause(20);
}
await relay.stop();
await delayed.stop();
await consumer.worker.stop();
process.exit(0);
