import { catalog } from '@sidecart/contracts/catalog';
import { TOPOLOGY } from '@sidecart/contracts/topology.generated';
import { createEventStore } from '@sidecart/event-sourcing/event-store';
import { createProjector } from '@sidecart/event-sourcing/projector';
import { runService } from '@sidecart/kit/service';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createMessaging } from '@sidecart/messaging/messaging';
import { receivingWorkers } from '@sidecart/messaging/repair';
import { order } from './aggregate.ts';
import { createOrdersApp } from './app.ts';
import { archiveOf } from './archive.ts';
import { config } from './config.ts';
import { createGetQuotes } from './quotes.ts';
import { ordersProjection } from './read-models/orders.ts';
import { messagesToItself, subscriptions } from './subscriptions.ts';
import { timeoutsOf } from './timeouts.ts';

const service = 'orders';

await runService({
  env: process.env,
  service,
  config,
  database: true,
  build({ config, ...base }) {
    const topology = TOPOLOGY[service];
    const clock = () => new Date();
    const reading = { ...base, archive: archiveOf(config.ARCHIVE_BINDING, base.dapr) };
    const projector = createProjector({ ...reading, shapes: order.events, projections: [ordersProjection] });
    const store = createEventStore({ ...base, aggregate: order, onAppend: projector.appended });
    const timeouts = timeoutsOf(config);
    const { outbox, workers, local } = createMessaging({
      ...base,
      service,
      catalog,
      topology,
      local: (outbox) => messagesToItself({ store, outbox, timeouts }, clock),
    });
    const handling = { store, outbox, timeouts };
    const consumer = createConsumer({ ...base, topics: subscriptions(handling, clock) });
    const app = createOrdersApp(
      { ...base, appToken: config.APP_API_TOKEN },
      {
        ...handling,
        ...reading,
        getQuotes: createGetQuotes(base.dapr, config.QUOTE_TIMEOUT_MS),
        clock,
        consumer,
        local,
        projector,
        topics: Object.keys(topology.publish),
      },
    );
    return {
      app,
      workers: [...workers, store.worker, projector, ...receivingWorkers({ ...base, consumer, topology })],
    };
  },
});
