import { catalog } from '@sidecart/contracts/catalog';
import { SECRET_STORE, TOPOLOGY } from '@sidecart/contracts/topology.generated';
import { runService } from '@sidecart/kit/service';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createMessaging } from '@sidecart/messaging/messaging';
import { receivingWorkers } from '@sidecart/messaging/repair';
import { createPaymentsApp } from './app.ts';
import { config } from './config.ts';
import { createAskProvider } from './provider.ts';
import { readProviderSecret } from './provider-secret.ts';
import { subscriptions } from './subscriptions.ts';
import { createPaymentWorker } from './worker.ts';

const service = 'payments';

await runService({
  env: process.env,
  service,
  config,
  database: true,
  async build({ config, ...base }) {
    const topology = TOPOLOGY[service];
    const { timeoutMs, secret } = topology.externals.provider;
    const { apiKey, webhookSecret } = readProviderSecret(
      secret,
      await base.dapr.getSecret(SECRET_STORE, secret),
    );
    const clock = () => new Date();
    const { outbox, workers } = createMessaging({ ...base, service, catalog, topology });
    const deps = { database: base.database, outbox, clock };
    const consumer = createConsumer({ ...base, topics: subscriptions(outbox, clock) });
    const app = createPaymentsApp(
      { ...base, appToken: config.APP_API_TOKEN },
      { ...deps, consumer, webhookSecret },
    );
    const ask = createAskProvider({ dapr: base.dapr, name: 'provider', apiKey, timeoutMs });
    const worker = createPaymentWorker({ ...base, ...deps, ask });
    return { app, workers: [...workers, worker, ...receivingWorkers({ ...base, consumer, topology })] };
  },
});
