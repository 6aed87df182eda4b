import { jetstream } from '@nats-io/jetstream';
import { createHealth } from '@sidecart/kit/health';
import { createLogger } from '@sidecart/kit/log';
import { createMetrics } from '@sidecart/kit/metrics';
import { connectBroker, publishTo } from './fixture-nats.ts';
import { createRelay } from './relay.ts';

// One relay as a process of its own, for the tests that freeze and kill it.
// Arguments: its name, the database's URL, the broker's URL, the idle session timeout in ms.

const [service = '', url = '', brokerUrl = '', timeout = ''] = process.argv.slice(2);
const connection = await connectBroker(brokerUrl);
const relay = createRelay({
  url,
  service,
  log: createLogger({ service, level: 'warn' }),
  metrics: createMetrics(service),
  health: createHealth(service),
  publish: publishTo(jetstream(connection)),
  pollMs: 50,
  idleSessionTimeoutMs: Number(timeout),
});
await relay.start();
console.log('ready');

process.once('SIGTERM', async () => {
  await relay.stop();
  await connection.close();
});
