import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { AckPolicy } from '@nats-io/jetstream';
import { onTestFinished } from 'vitest';
import { openLedger } from '../local/ledger.ts';
import { natsCommand, natsStore, natsUrl } from '../local/nats.ts';
import { freePort } from '../local/ports.ts';
import { ensurePrograms } from '../local/programs/programs.ts';
import { supervise } from '../local/supervisor.ts';
import { testFolder } from '../local/testing.ts';
import { type ConsumerWanted, ensureStreams, type StreamWanted, withBroker } from './streams.ts';

export const streams = ['orders', 'commands-inventory'].map(
  (name) =>
    ({
      name,
      subjects: [name.replace('-', '.')],
      storage: 'file',
      retention: 'limits',
      max_age: 3_600e9,
      duplicate_window: 120e9,
      num_replicas: 1,
    }) as unknown as StreamWanted,
);
export const names = streams.map(({ name }) => name);

export const consumer: ConsumerWanted = {
  app: 'inventory',
  topic: 'orders',
  stream: 'orders',
  name: 'inventory-orders',
  settings: { ack_wait: 20e9, max_ack_pending: 32, max_deliver: -1 },
};

/** A real broker, stopped when the test ends; with the streams, unless told otherwise. */
export async function startNats(o: { bare?: boolean } = {}) {
  const found = await ensurePrograms({ env: process.env, only: ['natsServer'], progress: () => {} });
  const folder = testFolder();
  const store = join(folder, 'nats');
  mkdirSync(store);
  const port = await freePort();
  const url = natsUrl(port, 'secret');
  const nats = supervise(
    {
      name: 'nats',
      logFile: join(folder, 'nats.log'),
      command: () => natsCommand({ program: found.natsServer.path, folder: store, port, password: 'secret' }),
      probe: () => withBroker(url, async (jsm) => void (await jsm.getAccountInfo())),
      ...(o.bare ? {} : { afterStart: async () => void (await ensureStreams(url, streams)) }),
      rank: 1,
      stopSignal: 'SIGTERM',
      graceMs: 10_000,
    },
    { ledger: openLedger(join(folder, 'ledger.json')), say: () => {} },
  );
  onTestFinished(async () => void (await nats.end()));
  await nats.start();
  return { nats, url, port, empty: () => rmSync(natsStore(store), { recursive: true }) };
}

/** Makes {@link consumer} with other settings than it should have. */
export const addConsumer = (url: string) =>
  withBroker(url, (jsm) =>
    jsm.consumers.add(consumer.stream, {
      durable_name: consumer.name,
      ack_policy: AckPolicy.Explicit,
      deliver_subject: 'somewhere',
      deliver_group: 'inventory',
      filter_subject: 'orders',
      ack_wait: 30e9,
      max_ack_pending: 256,
    }),
  );
