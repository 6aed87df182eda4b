import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { jetstream } from '@nats-io/jetstream';
import { testDeps } from '@sidecart/kit/testing';
import { createRelay } from '@sidecart/messaging/relay';
import { expect, onTestFinished, test } from 'vitest';
import { natsCommand, natsUrl } from '../../local/nats.ts';
import { freePort } from '../../local/ports.ts';
import { ensurePrograms } from '../../local/programs/programs.ts';
import { testFolder } from '../../local/testing.ts';
import { eventually, openFixture, outbox, placed } from '../../packages/messaging/src/fixture.ts';
import { connectBroker, publishTo } from '../../packages/messaging/src/fixture-nats.ts';
import { streams } from '../../platform/fixture-nats.ts';
import { ensureStreams, withBroker } from '../../platform/streams.ts';
import { openDisk } from './power-cut.ts';

const MESSAGES = 50;

test.for([
  [
    'as the shop has it (sync_interval: always): all that it acknowledged is there',
    (config: string) => config,
    true,
  ],
  [
    'control: with its own default of two minutes: acknowledged messages that left the outbox are gone',
    (config: string) => config.replace(/ *sync_interval: always\n/, ''),
    false,
  ],
] as const)('NATS after a power cut, %s', async ([, change, all], context) => {
  const folder = testFolder();
  const disk = openDisk(context, folder);
  const { natsServer } = await ensurePrograms({
    env: process.env,
    only: ['natsServer'],
    progress: () => {},
  });

  /** Starts the broker on a folder. */
  async function start(on: string): Promise<{ url: string; child: ChildProcess }> {
    const port = await freePort();
    const url = natsUrl(port, 'secret');
    const command = natsCommand({ program: natsServer.path, folder: on, port, password: 'secret' });
    const config = join(on, 'nats.conf');
    writeFileSync(config, change(readFileSync(config, 'utf8')));
    const child = spawn(command.file, command.args, { cwd: on, env: command.env, stdio: 'ignore' });
    onTestFinished(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    });
    await eventually(() => withBroker(url, async (jsm) => void (await jsm.getAccountInfo())));
    return { url, child };
  }

  mkdirSync(join(disk.folder, 'nats'));
  const { url, child } = await start(join(disk.folder, 'nats'));
  await ensureStreams(url, streams);
  disk.sync(); // the streams themselves are not what this is about

  const fixture = await openFixture('power_cut');
  onTestFinished(() => fixture.close());
  const connection = await connectBroker(url);
  onTestFinished(() => connection.close());
  const publish = publishTo(jetstream(connection));
  const relay = createRelay({ ...testDeps('orders'), url: fixture.urls.url, publish, pollMs: 20 });
  onTestFinished(() => relay.stop());
  await fixture.database.db.transaction((tx) =>
    outbox.publish(tx, ...Array.from({ length: MESSAGES }, (_, n) => placed(`k${n % 7}`, n))),
  );
  await relay.start();
  await eventually(async () => expect(await fixture.admin`SELECT FROM outbox`).toHaveLength(0));

  child.kill('SIGSTOP');
  const after = disk.afterPowerCut();
  child.kill('SIGKILL');
  const again = await start(join(after, 'nats'));
  const found = await withBroker(again.url, async (jsm) => (await jsm.streams.info('orders')).state.messages);
  // The kernel may have written down some by itself.
  if (all) expect(found).toBe(MESSAGES);
  else expect(found).toBeLessThan(MESSAGES);
  // What the broker lost, its sender still has: receivers fetch it from there.
  expect(await fixture.admin`SELECT FROM sent`).toHaveLength(MESSAGES);
});
