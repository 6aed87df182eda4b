import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createDapr } from '@sidecart/kit/dapr';
import { seededRandom } from '@sidecart/kit/seeded-random';
import { TEST_TOKEN } from '@sidecart/kit/testing';
import { delivery } from '@sidecart/messaging/testing';
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import { localBroker } from '../../local/brokers.ts';
import { baseEnv } from '../../local/launch.ts';
import { freePort } from '../../local/ports.ts';
import { ensurePrograms } from '../../local/programs/programs.ts';
import { openFixture } from '../../packages/messaging/src/fixture.ts';
import { needsRedis } from '../../platform/fixture-redis.ts';
import { seed } from '../seed.ts';
import { sleep, until } from '../waiting.ts';
import type { ReaderOptions } from './fixture-reader.ts';
import { type Change, killed, openSidecarRig } from './sidecar-rig.ts';

// Two replicas of a receiver with two lanes each, all of them real processes: four ways on which the messages of one key come side by side.

const MESSAGES = 300;
const KEYS = 5;
const READERS = ['one', 'two'];

const table = (broker: string) => `
namespace: shop
broker: ${broker}
services:
  edge: { port: 8080, database: false, replicas: 1, edge: true }
  books: { port: 8101, database: true, replicas: 1, topic: { lanes: 2 } }
  readers: { port: 8102, database: true, replicas: ${READERS.length}, consumes: [books] }
`;

/** As the template has it, but that what a killed sidecar had comes again within seconds. */
const soonAgain: Record<string, readonly Change[]> = {
  jetstream: [
    ['ackWait\n      value: 20s', 'ackWait\n      value: 3s'],
    ['ack_wait: 20000000000', 'ack_wait: 3000000000'],
  ],
  redis: [['redeliverInterval\n      value: "15000"', 'redeliverInterval\n      value: "1000"']],
};

async function programOf(name: string, context: TestContext): Promise<string> {
  if (name === 'redis') return needsRedis(context);
  const { natsServer } = await ensurePrograms({ env: process.env, only: ['natsServer'], progress: () => {} });
  return natsServer.path;
}

interface Key {
  key: string;
  /** In the order in which they were applied. */
  ns: number[];
}

/**
 * Sends all messages, those of a key one after the other as a relay does, and kills one replica when a third was applied.
 * @returns what was applied, when all of it was
 */
async function applyAll(name: string, ordered: boolean, context: TestContext): Promise<Key[]> {
  const program = await programOf(name, context);
  console.log(`${name}, ordered: ${ordered}, SEED=${seed}`);
  const random = seededRandom(seed);
  const plan = Array.from({ length: MESSAGES }, () => ({
    ms: Math.floor(random() * 10),
    failures: random() < 0.06 ? 1 + Math.floor(random() * 2) : 0,
  }));
  const victim = Math.floor(random() * READERS.length);

  const fixture = await openFixture('ordered_readers');
  onTestFinished(() => fixture.close());
  await fixture.admin`
    CREATE TABLE applied (id bigint GENERATED ALWAYS AS IDENTITY, key text, n int, reader text)`;
  await fixture.admin`GRANT ALL ON applied TO PUBLIC`;
  const countBy = async (reader: string) =>
    (await fixture.admin`SELECT FROM applied WHERE reader = ${reader}`).length;
  const count = async () => (await fixture.admin`SELECT DISTINCT n FROM applied`).length;

  const rig = await openSidecarRig({ table: table(name), broker: name, changes: soonAgain[name] ?? [] });
  const server = localBroker(name);
  const at = { folder: rig.folder, port: await freePort(), password: 'secret' };
  rig.run(server.command({ program, ...at }), 'broker.log');
  const tasks = server.tasks(
    server.url(at.port, at.password),
    join(rig.folder, `components/brokers/${name}-streams.generated.yaml`),
  );
  await until('the broker to answer', () => tasks.ping().then(() => true));
  await tasks.prepare();
  const broker = server.secret(at.port, at.password);

  const startReader = async (reader: string) => {
    const port = await freePort();
    const options: ReaderOptions = { name: reader, databaseUrl: fixture.urls.url, port, ordered, plan };
    const source = fileURLToPath(new URL('fixture-reader.ts', import.meta.url));
    const args = ['--import', 'tsx', source, JSON.stringify(options)];
    const command = { file: process.execPath, args, env: baseEnv(), cwd: process.cwd() };
    const app = rig.run(command, `reader-${reader}.log`);
    const sidecar = await rig.startSidecar('readers', { broker, app: { port, token: TEST_TOKEN } });
    return { name: reader, kill: () => Promise.all([killed(app), sidecar.kill()]) };
  };
  const [sender, ...readers] = await Promise.all([
    rig.startSidecar('books', { broker }),
    ...READERS.map(startReader),
  ]);

  const dapr = createDapr({ httpPort: sender.http, apiToken: '' });
  const publishKey = async (k: number) => {
    for (let n = k, sequence = 1; n < MESSAGES; n += KEYS, sequence += 1) {
      const key = `k${k}`;
      const event = JSON.parse(delivery('BookAdded', { key, n }, { id: `m${n}`, key, sequence }));
      await dapr.publish('pubsub-books-0', 'books', event);
    }
  };
  const dead = readers[victim] as (typeof readers)[number];
  const killInTheMiddle = async () => {
    const some = async () => (await count()) > MESSAGES / 3 && (await countBy(dead.name)) > 0;
    await until('a third to be applied, some of it by the one to be killed', some, 20_000, 5);
    await dead.kill();
    expect(await count()).toBeLessThan(MESSAGES);
  };
  await Promise.all([killInTheMiddle(), ...Array.from({ length: KEYS }, (_, k) => publishKey(k))]);
  await until('all to be applied', async () => (await count()) === MESSAGES);
  await sleep(4_000); // what was not acknowledged comes once more
  expect(await fixture.admin`SELECT reason, detail FROM dead_letter`).toEqual([]);
  return fixture.admin<Key[]>`
    SELECT key, array_agg(n ORDER BY id) AS ns FROM applied GROUP BY key ORDER BY key`;
}

const inOrder = (ns: number[]) => ns.toSorted((a, b) => a - b);
const sent: Key[] = Array.from({ length: KEYS }, (_, k) => ({
  key: `k${k}`,
  ns: Array.from({ length: MESSAGES / KEYS }, (_, i) => k + i * KEYS),
}));

test.for(['jetstream', 'redis'])(
  'on %s, over two lanes of two replicas of which one is killed: an ordered handler has each message once, in the order of its key',
  async (broker, context) => {
    expect(await applyAll(broker, true, context)).toEqual(sent);
  },
);

test.for(['jetstream', 'redis'])(
  'control: on %s, a handler that does not ask for the order has each message once, and out of order',
  async (broker, context) => {
    const applied = await applyAll(broker, false, context);
    expect(applied.map(({ key, ns }) => ({ key, ns: inOrder(ns) }))).toEqual(sent);
    expect(applied).not.toEqual(sent);
  },
);
