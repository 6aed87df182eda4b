import { expect, test } from 'vitest';
import { consumer, names, startNats, streams } from '../platform/fixture-nats.ts';
import { brokerState, withBroker } from '../platform/streams.ts';
import { createBrokerWatch } from './broker-watch.ts';
import { jetstreamTasks } from './jetstream-broker.ts';

test('the watch makes lost streams and consumers again, and says so once', async () => {
  const { url } = await startNats({ bare: true });
  const tasks = jetstreamTasks(url, { streams, consumers: [consumer] });
  const said: string[] = [];
  const watch = createBrokerWatch({ tasks, say: (text) => said.push(text) });
  await tasks.prepare();
  await watch.look();
  expect(said).toEqual([]);
  await withBroker(url, (jsm) => jsm.consumers.delete(consumer.stream, consumer.name));
  await watch.look();
  await withBroker(url, (jsm) => jsm.streams.delete('orders'));
  await watch.look();
  await watch.look();
  expect(said).toEqual([
    'consumers were missing on the broker and were made again: inventory-orders',
    'streams were missing on the broker and were made again: orders',
  ]);
  const state = await brokerState(url, names, [consumer]);
  expect(state.streams).toEqual(new Set(names));
  expect([...state.consumers.keys()]).toEqual([consumer.name]);
});
