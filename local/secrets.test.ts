import { expect, test } from 'vitest';
import { appSecrets } from './secrets.ts';

test('an app finds its own database and the broker in its file, and nothing else', () => {
  const broker = { url: 'nats://u:p@127.0.0.1:1' };
  const databaseUrl = 'postgres://orders_app:p@127.0.0.1:2/orders';
  expect(appSecrets({ app: 'orders', broker, databaseUrl })).toEqual({
    broker,
    'orders-db': { url: databaseUrl },
  });
  expect(appSecrets({ app: 'gateway', broker })).toEqual({ broker });
  const externals = { 'orders-bank': { api_key: 'k' } };
  expect(appSecrets({ app: 'orders', broker, externals })).toEqual({ broker, ...externals });
});
