import { catalog } from '@sidecart/contracts/catalog';
import { TOPOLOGY } from '@sidecart/contracts/topology.generated';
import { runService } from '@sidecart/kit/service';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createMessaging } from '@sidecart/messaging/messaging';
import { receivingWorkers } from '@sidecart/messaging/repair';
import { createOrdersApp } from './app.ts';
import { config } from './config.ts';
import { createGetQuotes } from './quotes.ts';
import { messagesToItself, subscriptions } from './subscriptions.ts';

const service = 'orders';

await runService({
  env: process.env,
  service,
  config,
  database: true,
  build({ config, ...base }) {
    const topology = TOPOLOGY[service];
    const clock = () => new Date();
    const { outbox, workers } = createMessaging({
      ...base,
      service,
      catalog,
      topology,
      local: (outbox) => messagesToItself(outbox, clock),
    });
    const consumer = createConsumer({ ...base, service, topics: subscriptions(outbox, clock) });
    const app = createOrdersApp(
      { ...base, appToken: config.APP_API_TOKEN },
      {
        database: base.database,
        outbox,
        getQuotes: createGetQuotes(base.dapr, config.QUOTE_TIMEOUT_MS),
        clock,
        orderTimeoutMs: config.ORDER_TIMEOUT_MS,
        consumer,
      },
    );
    return { app, workers: [...workers, ...receivingWorkers({ ...base, consumer, topology })] };
  },
});
