import { runService } from '@sidecart/kit/service';
import { createGatewayApp } from './app.ts';
import { config } from './config.ts';
import { createGetProductNames } from './product-names.ts';

await runService({
  env: process.env,
  service: 'gateway',
  config,
  database: false,
  build({ config, log, metrics, health, dapr }) {
    const getProductNames = createGetProductNames({ dapr, log, timeoutMs: config.NAMES_TIMEOUT_MS });
    const base = { log, metrics, health, appToken: config.APP_API_TOKEN };
    return { app: createGatewayApp(base, { dapr, getProductNames }) };
  },
});
