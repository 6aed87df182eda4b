import { expect, test } from 'vitest';
import { natsUrl } from '../local/nats.ts';
import { alignConsumers } from './consumers.ts';
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

test('a consumer that exists is brought to what its component says now', async () => {
  const { url } = await startNats();
  await addConsumer(url);
  expect(await alignConsumers(url, [consumer])).toEqual(['inventory-orders']);
  expect(await alignConsumers(url, [consumer])).toEqual([]);
  const config = await withBroker(url, async (jsm) => (await findConsumer(jsm, consumer))?.config);
  expect(config).toMatchObject({ ack_wait: 20e9, max_ack_pending: 32, filter_subject: 'orders' });
});
