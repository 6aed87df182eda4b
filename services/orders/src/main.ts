import { catalog } from '@sidecart/contracts/catalog';
import { TOPOLOGY } from '@sidecart/contracts/topology.generated';
import { runService } from '@sidecart/kit/service';
import { createMessaging } from '@sidecart/messaging/messaging';
import { createOrdersApp } from './app.ts';
import { config } from './config.ts';
import { createGetQuotes } from './quotes.ts';

const service = 'orders';

await runService({
  env: process.env,
  service,
  config,
  database: true,
  build({ config, ...base }) {
    const { outbox, workers } = createMessaging({ ...base, service, catalog, topology: TOPOLOGY[service] });
    const app = createOrdersApp(
      { ...base, appToken: config.APP_API_TOKEN },
      {
        database: base.database,
        outbox,
        getQuotes: createGetQuotes(base.dapr, config.QUOTE_TIMEOUT_MS),
        clock: () => new Date(),
      },
    );
    return { app, workers };
  },
});
