import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { AckPolicy, type StreamConfig } from '@nats-io/jetstream';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { createBrokerWatch } from './broker-watch.ts';
import { alignConsumers } from './consumers.ts';
import { openLedger } from './ledger.ts';
import { natsCommand, natsStore, natsUrl } from './nats.ts';
import { freePort } from './ports.ts';
import { ensurePrograms } from './programs/programs.ts';
import { brokerState, ensureStreams, findConsumer, withBroker } from './streams.ts';
import { supervise } from './supervisor.ts';
import { testFolder } from './testing.ts';

let program: string;
beforeAll(async () => {
  const found = await ensurePrograms({ env: process.env, only: ['natsServer'], progress: () => {} });
  program = found.natsServer.path;
}, 300_000);

const streams = ['orders', 'commands-inventory'].map(
  (name) =>
    ({
      name,
      subjects: [name.replace('-', '.')],
      storage: 'file',
      retention: 'limits',
      max_age: 3_600e9,
      duplicate_window: 120e9,
      num_replicas: 1,
    }) as unknown as StreamConfig,
);
const durable = { app: 'inventory', topic: 'orders', stream: 'orders', name: 'inventory-orders' };

async function startNats() {
  const folder = testFolder();
  const store = join(folder, 'nats');
  mkdirSync(store);
  const port = await freePort();
  const url = natsUrl(port, 'secret');
  const nats = supervise(
    {
      name: 'nats',
      logFile: join(folder, 'nats.log'),
      command: () => natsCommand({ program, folder: store, port, password: 'secret' }),
      probe: () => withBroker(url, async (jsm) => void (await jsm.getAccountInfo())),
      afterStart: async () => void (await ensureStreams(url, streams)),
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

const addConsumer = (url: string) =>
  withBroker(url, (jsm) =>
    jsm.consumers.add('orders', {
      durable_name: durable.name,
      ack_policy: AckPolicy.Explicit,
      deliver_subject: 'somewhere',
      filter_subject: 'orders',
      ack_wait: 30e9,
      max_ack_pending: 256,
    }),
  );
const names = streams.map(({ name }) => name);

test('only who knows the password gets in', async () => {
  const { port } = await startNats();
  await expect(withBroker(natsUrl(port, 'guess'), async () => {})).rejects.toThrow(/authorization/i);
});

test('streams are made once, changed when the list changes, and made again on an emptied broker', async () => {
  const { nats, url, empty } = await startNats();
  expect((await brokerState(url, names, [])).streams).toEqual(new Set(names));
  expect(await ensureStreams(url, streams)).toEqual([]);
  const longer = streams.map((stream) => ({ ...stream, max_age: 7_200e9 }));
  expect(await ensureStreams(url, longer)).toEqual([]);
  expect(await withBroker(url, async (jsm) => (await jsm.streams.info('orders')).config.max_age)).toBe(
    7_200e9,
  );
  await nats.hold();
  empty();
  await nats.release();
  expect((await brokerState(url, names, [])).streams).toEqual(new Set(names));
});

test('the watch makes lost streams again and has the sidecars restarted whose consumer is gone, once', async () => {
  const { url } = await startNats();
  const restarted: string[] = [];
  const said: string[] = [];
  const watch = createBrokerWatch({
    url,
    streams,
    durables: [durable],
    restartSidecars: (app) => restarted.push(app),
    say: (text) => said.push(text),
  });
  await watch.look();
  expect(restarted).toEqual([]);
  await addConsumer(url);
  await watch.look();
  await withBroker(url, (jsm) => jsm.streams.delete('orders'));
  await watch.look();
  await watch.look();
  expect(restarted).toEqual(['inventory']);
  expect(said).toEqual(['streams were missing on the broker and were made again: orders']);
  expect((await brokerState(url, names, [durable])).streams).toEqual(new Set(names));
});

test('a consumer that exists is brought to what its component says now', async () => {
  const { url } = await startNats();
  await addConsumer(url);
  const wanted = [{ durable, settings: { ack_wait: 20e9, max_ack_pending: 32, max_deliver: -1 } }];
  expect(await alignConsumers(url, wanted)).toEqual(['inventory-orders']);
  expect(await alignConsumers(url, wanted)).toEqual([]);
  const config = await withBroker(url, async (jsm) => (await findConsumer(jsm, durable))?.config);
  expect(config).toMatchObject({ ack_wait: 20e9, max_ack_pending: 32, filter_subject: 'orders' });
});
