import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AckPolicy,
  DiscardPolicy,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream';
import { natsCommand, natsUrl } from '../../../local/nats.ts';
import { freePort } from '../../../local/ports.ts';
import { ensurePrograms } from '../../../local/programs/programs.ts';
import type { CloudEvent } from './envelope.ts';
import { eventually } from './fixture.ts';
import { connectBroker } from './fixture-nats.ts';

// A real JetStream with the shop's settings (a message is acknowledged when it is on the disk), for integration tests.

export interface FixtureBroker {
  url: string;
  /** SIGKILL. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Everything that the stream holds, in the order of arrival. */
  messages(stream: string): Promise<CloudEvent[]>;
  /** Empties the stream. */
  purge(stream: string): Promise<void>;
  close(): Promise<void>;
}

/** Starts a broker with one stream per topic. Its duplicate window is as short as it can be: the inbox has to do. */
export async function openBroker(env: NodeJS.ProcessEnv, streams: string[]): Promise<FixtureBroker> {
  const { natsServer } = await ensurePrograms({ env, progress: () => {}, only: ['natsServer'] });
  const folder = await mkdtemp(join(tmpdir(), 'sidecart-test-nats-'));
  const port = await freePort();
  const url = natsUrl(port, 'secret');
  const command = natsCommand({ program: natsServer.path, folder, port, password: 'secret' });
  let server: ChildProcess | undefined;

  async function start(): Promise<void> {
    server = spawn(command.file, command.args, { cwd: command.cwd, env: command.env, stdio: 'ignore' });
    await eventually(async () => (await connectBroker(url, { reconnect: false })).close());
  }
  async function kill(): Promise<void> {
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
  }

  await start();
  const connection = await connectBroker(url);
  const manager = await jetstreamManager(connection);
  for (const name of streams) {
    await manager.streams.add({
      name,
      subjects: [name],
      storage: StorageType.File,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      duplicate_window: 100_000_000, // 100 ms in ns
    });
  }
  return {
    url,
    kill,
    start,
    async messages(stream) {
      const { state } = await manager.streams.info(stream);
      if (state.messages === 0) return [];
      const { name } = await manager.consumers.add(stream, { ack_policy: AckPolicy.None });
      const consumer = await jetstream(connection).consumers.get(stream, name);
      const batch = await consumer.fetch({ max_messages: state.messages, expires: 5000 });
      const events: CloudEvent[] = [];
      for await (const message of batch) events.push(message.json<CloudEvent>());
      return events;
    },
    async purge(stream) {
      await manager.streams.purge(stream);
    },
    async close() {
      await connection.close();
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
