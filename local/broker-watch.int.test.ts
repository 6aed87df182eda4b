import { expect, test } from 'vitest';
import { addConsumer, consumer, names, startNats, streams } from '../platform/fixture-nats.ts';
import { brokerState, withBroker } from '../platform/streams.ts';
import { createBrokerWatch } from './broker-watch.ts';
import { jetstreamTasks } from './jetstream-broker.ts';

test('the watch makes lost streams again and has the sidecars restarted whose consumer is gone, once', async () => {
  const { url } = await startNats();
  const restarted: string[] = [];
  const said: string[] = [];
  const watch = createBrokerWatch({
    tasks: jetstreamTasks(url, { streams, consumers: [consumer] }),
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
  expect((await brokerState(url, names, [consumer])).streams).toEqual(new Set(names));
});
