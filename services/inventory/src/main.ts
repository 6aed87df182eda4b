import { catalog } from '@sidecart/contracts/catalog';
import { TOPOLOGY } from '@sidecart/contracts/topology.generated';
import { runService } from '@sidecart/kit/service';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createMessaging } from '@sidecart/messaging/messaging';
import { receivingWorkers } from '@sidecart/messaging/repair';
import { createInventoryApp } from './app.ts';
import { config } from './config.ts';
import { subscriptions } from './subscriptions.ts';

const service = 'inventory';

await runService({
  env: process.env,
  service,
  config,
  database: true,
  build({ config, ...base }) {
    const topology = TOPOLOGY[service];
    const { outbox, workers } = createMessaging({ ...base, service, catalog, topology });
    const consumer = createConsumer({ ...base, topics: subscriptions(outbox) });
    const app = createInventoryApp(
      { ...base, appToken: config.APP_API_TOKEN },
      { database: base.database, outbox, consumer },
    );
    return { app, workers: [...workers, ...receivingWorkers({ ...base, consumer, topology })] };
  },
});
