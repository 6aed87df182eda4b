import { jetstream } from '@nats-io/jetstream';
import { connectBroker } from '@sidecart/messaging/fixture-nats';
import { expect, onTestFinished, test, vi } from 'vitest';
import { natsUrl } from '../local/nats.ts';
import { ensureBroker, keepConsumers } from './consumers.ts';
import { addConsumer, consumer, names, startNats, streams } from './fixture-nats.ts';
import { brokerState, ensureStreams, findConsumer, withBroker } from './streams.ts';

test('only who knows the password gets in', async () => {
  const { port } = await startNats();
  await expect(withBroker(natsUrl(port, 'guess'), async () => {})).rejects.toThrow(/authorization/i);
});

test('a login is read from the address as the sidecars read it: what it has encoded is decoded, the user too', async () => {
  const { url } = await startNats({ bare: true });
  const encoded = url.replace('sidecart:secret', '%73idecart:%73ecret');
  expect(encoded).not.toBe(url);
  await withBroker(encoded, async () => {});
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
  const nothing = { changed: [], made: [], unbound: [consumer.name] };
  expect(await keepConsumers(url, [consumer], new Map())).toEqual({ ...nothing, changed: [consumer.name] });
  expect(await keepConsumers(url, [consumer], new Map())).toEqual(nothing);
  expect(await configOf(url)).toMatchObject({ ...consumer.settings, filter_subject: 'orders' });
});

/** What a sidecar has once it has subscribed: a connection that comes back, and ears at where its consumer then delivered. */
async function subscribe(url: string) {
  const config = await configOf(url);
  const connection = await connectBroker(url, { reconnect: true });
  onTestFinished(() => connection.close());
  const received: string[] = [];
  connection.subscribe(config?.deliver_subject as string, {
    queue: config?.deliver_group as string,
    callback: (_, message) => {
      received.push(message.string());
      message.respond('+ACK');
    },
  });
  const publish = (text: string) => vi.waitFor(() => jetstream(connection).publish('orders', text), 10_000);
  return { received, publish };
}

const wanted = { streams, consumers: [consumer] };
async function loseAll({ nats, empty }: Awaited<ReturnType<typeof startNats>>) {
  await nats.hold();
  empty();
  await nats.release();
}

test('a broker that lost everything, twice in a row, delivers to the subscriptions that are still there, whoever makes its consumers', async () => {
  const broker = await startNats({ bare: true });
  const { url } = broker;
  expect(await ensureBroker(url, wanted, new Map())).toEqual(names);
  const { received, publish } = await subscribe(url);
  await publish('before');
  await vi.waitFor(() => expect(received).toEqual(['before']));

  await loseAll(broker);
  await loseAll(broker);
  expect(await ensureBroker(url, wanted, new Map())).toEqual(names);
  await publish('after');
  await vi.waitFor(() => expect(received).toEqual(['before', 'after']));
  expect(await keepConsumers(url, [consumer], new Map())).toEqual({ changed: [], made: [], unbound: [] });
  expect(await configOf(url)).toMatchObject({ ...consumer.settings, filter_subject: 'orders' });
});

test('a consumer that a sidecar made reaches it again if it was seen, and else nobody', async () => {
  const broker = await startNats();
  const { url } = broker;
  await addConsumer(url);
  const seen = new Map();
  await keepConsumers(url, [consumer], seen);
  const { received, publish } = await subscribe(url);
  await loseAll(broker);
  expect((await keepConsumers(url, [consumer], seen)).made).toEqual([consumer.name]);
  await publish('seen');
  await vi.waitFor(() => expect(received).toEqual(['seen']));
  expect(await configOf(url)).toMatchObject(consumer.settings);

  // The control: an address that a sidecar made up cannot be guessed.
  await loseAll(broker);
  await keepConsumers(url, [consumer], new Map());
  await publish('not seen');
  expect((await keepConsumers(url, [consumer], new Map())).unbound).toEqual([consumer.name]);
  expect(received).toEqual(['seen']);
});

test('a consumer that is gone alone is made again', async () => {
  const { url } = await startNats();
  const seen = new Map();
  expect((await keepConsumers(url, [consumer], seen)).made).toEqual([consumer.name]);
  const { received, publish } = await subscribe(url);
  await withBroker(url, (jsm) => jsm.consumers.delete(consumer.stream, consumer.name));
  await publish('meanwhile');
  expect((await keepConsumers(url, [consumer], seen)).made).toEqual([consumer.name]);
  await vi.waitFor(() => expect(received).toEqual(['meanwhile']));
});
