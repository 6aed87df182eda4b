import { expect, test } from 'vitest';
import { appSecrets } from './secrets.ts';

test('an app finds its own database and the broker in its file, and nothing else', () => {
  const urls = {
    brokerUrl: 'nats://u:p@127.0.0.1:1',
    databaseUrl: 'postgres://orders_app:p@127.0.0.1:2/orders',
  };
  expect(appSecrets({ app: 'orders', ...urls })).toEqual({
    broker: { url: urls.brokerUrl },
    'orders-db': { url: urls.databaseUrl },
  });
  expect(appSecrets({ app: 'gateway', brokerUrl: urls.brokerUrl })).toEqual({
    broker: { url: urls.brokerUrl },
  });
});
