import { catalog } from '@sidecart/contracts/catalog';
import { TOPOLOGY } from '@sidecart/contracts/topology.generated';
import { runService } from '@sidecart/kit/service';
import { createMessaging } from '@sidecart/messaging/messaging';
import { createInventoryApp } from './app.ts';
import { config } from './config.ts';

const service = 'inventory';

await runService({
  env: process.env,
  service,
  config,
  database: true,
  build({ config, ...base }) {
    const { outbox, workers } = createMessaging({ ...base, service, catalog, topology: TOPOLOGY[service] });
    const app = createInventoryApp(
      { ...base, appToken: config.APP_API_TOKEN },
      { database: base.database, outbox },
    );
    return { app, workers };
  },
});
