import { jetstream } from '@nats-io/jetstream';
import { connectBroker } from '@sidecart/messaging/fixture-nats';
import { expect, onTestFinished, test, vi } from 'vitest';
import { natsUrl } from '../local/nats.ts';
import { keepConsumers } from './consumers.ts';
import { addConsumer, consumer, names, startNats, streams } from './fixture-nats.ts';
import { brokerState, ensureStreams, findConsumer, withBroker } from './streams.ts';

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

const configOf = (url: string) => withBroker(url, async (jsm) => (await findConsumer(jsm, consumer))?.config);

test('a consumer that exists is brought to what its component says now, and one to which nobody is subscribed is named', async () => {
  const { url } = await startNats();
  await addConsumer(url);
  const nothing = { changed: [], restored: [], missing: [], unbound: [consumer.name] };
  expect(await keepConsumers(url, [consumer], new Map())).toEqual({ ...nothing, changed: [consumer.name] });
  expect(await keepConsumers(url, [consumer], new Map())).toEqual(nothing);
  expect(await configOf(url)).toMatchObject({ ...consumer.settings, filter_subject: 'orders' });
});

test('a consumer that was seen and is gone is made again, and delivers to the subscription that is still there', async () => {
  const { nats, url, empty } = await startNats();
  const seen = new Map();
  expect((await keepConsumers(url, [consumer], seen)).missing).toEqual([consumer.name]);
  await addConsumer(url);
  await keepConsumers(url, [consumer], seen);

  // What a sidecar has: a connection that comes back, and a subscription to where its consumer delivers.
  const sidecar = await connectBroker(url, { reconnect: true });
  onTestFinished(() => sidecar.close());
  const received: string[] = [];
  sidecar.subscribe('somewhere', {
    queue: 'inventory',
    callback: (_, message) => {
      received.push(message.string());
      message.respond('+ACK');
    },
  });
  const publish = (text: string) => vi.waitFor(() => jetstream(sidecar).publish('orders', text), 10_000);
  await publish('before');
  await vi.waitFor(() => expect(received).toEqual(['before']));
  expect((await keepConsumers(url, [consumer], seen)).unbound).toEqual([]);

  await nats.hold();
  empty();
  await nats.release();
  await publish('meanwhile');
  expect((await keepConsumers(url, [consumer], seen)).restored).toEqual([consumer.name]);
  await publish('after');
  await vi.waitFor(() => expect(received).toEqual(['before', 'meanwhile', 'after']));
  expect(await configOf(url)).toMatchObject({ ...consumer.settings, filter_subject: 'orders' });
});
