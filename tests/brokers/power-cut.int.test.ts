import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { jetstream } from '@nats-io/jetstream';
import { testDeps } from '@sidecart/kit/testing';
import { createRelay } from '@sidecart/messaging/relay';
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import { jetstreamBroker } from '../../local/jetstream-broker.ts';
import type { LocalBroker } from '../../local/local-broker.ts';
import { freePort } from '../../local/ports.ts';
import { ensurePrograms } from '../../local/programs/programs.ts';
import { redisBroker } from '../../local/redis-broker.ts';
import { testFolder } from '../../local/testing.ts';
import type { CloudEvent } from '../../packages/messaging/src/envelope.ts';
import { eventually, openFixture, outbox, pause, placed } from '../../packages/messaging/src/fixture.ts';
import { connectBroker, publishTo } from '../../packages/messaging/src/fixture-nats.ts';
import { streams } from '../../platform/fixture-nats.ts';
import { needsRedis } from '../../platform/fixture-redis.ts';
import { pingRedis, withRedis } from '../../platform/redis-streams.ts';
import { ensureStreams, withBroker } from '../../platform/streams.ts';
import { openDisk } from './power-cut.ts';
import { killed } from './sidecar-rig.ts';

const MESSAGES = 50;

/** What of a broker is not the same for both. */
interface Tried {
  local: LocalBroker;
  program(context: TestContext): Promise<string>;
  /** Throws while it does not answer. */
  ping(url: string): Promise<void>;
  /** Makes what has to be there before the first message. */
  prepare(url: string): Promise<void>;
  publish(url: string): Promise<(topic: string, event: CloudEvent) => Promise<void>>;
  /** How many messages it has. */
  stored(url: string): Promise<number>;
  /** For the control: its configuration without what it acknowledges by. */
  config: { file: string; weaken: (config: string) => string };
}

const nats: Tried = {
  local: jetstreamBroker,
  program: async () =>
    (await ensurePrograms({ env: process.env, only: ['natsServer'], progress: () => {} })).natsServer.path,
  ping: (url) => withBroker(url, async (jsm) => void (await jsm.getAccountInfo())),
  prepare: async (url) => void (await ensureStreams(url, streams)),
  async publish(url) {
    const connection = await connectBroker(url);
    onTestFinished(() => connection.close());
    return publishTo(jetstream(connection));
  },
  stored: (url) => withBroker(url, async (jsm) => (await jsm.streams.info('orders')).state.messages),
  config: { file: 'nats.conf', weaken: (config) => config.replace(/ *sync_interval: always\n/, '') },
};

const redis: Tried = {
  local: redisBroker,
  program: needsRedis,
  ping: pingRedis,
  prepare: async () => {},
  async publish(url) {
    // With `everysec` it syncs at the turn of a second: all messages are to be there before the next one.
    await pause(1_000 - (Date.now() % 1_000));
    return async (topic, event) =>
      void (await withRedis(url, (send) => send('XADD', topic, '*', 'data', JSON.stringify(event))));
  },
  stored: async (url) => Number(await withRedis(url, (send) => send('XLEN', 'orders'))),
  config: {
    file: 'redis.conf',
    weaken: (config) => config.replace('appendfsync always', 'appendfsync everysec'),
  },
};

test.for([
  [
    'NATS',
    'as the shop has it (sync_interval: always): all that it acknowledged is there',
    { broker: nats, all: true },
  ],
  [
    'NATS',
    'control: with its own default of two minutes: acknowledged messages that left the outbox are gone',
    { broker: nats, all: false },
  ],
  [
    'Redis',
    'as the shop has it (appendfsync always): all that it acknowledged is there',
    { broker: redis, all: true },
  ],
  [
    'Redis',
    'control: with its own default (appendfsync everysec): acknowledged messages that left the outbox are gone',
    { broker: redis, all: false },
  ],
] as const)('%s after a power cut, %s', async ([, , { broker, all }], context) => {
  const folder = testFolder();
  const program = await broker.program(context);
  const disk = openDisk(context, folder);

  /** Starts the broker on a folder. */
  async function start(on: string): Promise<{ url: string; child: ChildProcess }> {
    const at = { folder: on, port: await freePort(), password: 'secret' };
    const url = broker.local.url(at.port, at.password);
    const command = broker.local.command({ program, ...at });
    const file = join(on, broker.config.file);
    const config = readFileSync(file, 'utf8');
    expect(broker.config.weaken(config)).not.toBe(config);
    if (!all) writeFileSync(file, broker.config.weaken(config));
    const child = spawn(command.file, command.args, { cwd: on, env: command.env, stdio: 'ignore' });
    onTestFinished(() => killed(child));
    await eventually(() => broker.ping(url));
    return { url, child };
  }

  mkdirSync(join(disk.folder, 'broker'));
  const { url, child } = await start(join(disk.folder, 'broker'));
  await broker.prepare(url);
  disk.sync(); // the streams themselves are not what this is about

  const fixture = await openFixture('power_cut');
  onTestFinished(() => fixture.close());
  await fixture.database.db.transaction((tx) =>
    outbox.publish(tx, ...Array.from({ length: MESSAGES }, (_, n) => placed(`k${n % 7}`, n))),
  );
  const publish = await broker.publish(url);
  const relay = createRelay({ ...testDeps('orders'), url: fixture.urls.url, publish, pollMs: 20 });
  onTestFinished(() => relay.stop());
  await relay.start();
  await eventually(async () => expect(await fixture.admin`SELECT FROM outbox`).toHaveLength(0));

  child.kill('SIGSTOP');
  const after = disk.afterPowerCut();
  await killed(child);
  const again = await start(join(after, 'broker'));
  const found = await broker.stored(again.url);
  // The kernel may have written down some by itself.
  if (all) expect(found).toBe(MESSAGES);
  else expect(found).toBeLessThan(MESSAGES);
  // What the broker lost, its sender still has: receivers fetch it from there.
  expect(await fixture.admin`SELECT FROM sent`).toHaveLength(MESSAGES);
});
