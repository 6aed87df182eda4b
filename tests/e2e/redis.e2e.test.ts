import { seededRandom } from '@sidecart/kit/seeded-random';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { needsRedis } from '../../platform/fixture-redis.ts';
import { withRedis } from '../../platform/redis-streams.ts';
import { killWhileOrdersAreOnTheirWay, processVictim, stockOff } from './kills.ts';
import { call, type LocalShop, testShop, until } from './shop.ts';

// The short form; `npm run test:faults -- --broker redis` runs all end-to-end tests and faults on Redis.

let shop: LocalShop | undefined;

beforeAll(async () => {
  shop = await testShop({ broker: 'redis' }).catch((err: Error) => {
    if (/redis-server .* is not on PATH/.test(err.message)) return undefined;
    throw err;
  });
});
afterAll(async () => {
  await shop?.stop();
});

test.for(['broker', 'inventory-dapr'])(
  'on Redis, SIGKILL of %s between an order’s placement and its end loses nothing',
  async (victim, context) => {
    await needsRedis(context);
    const running = shop as LocalShop;
    await killWhileOrdersAreOnTheirWay(running, processVictim(running, victim), seededRandom(1));
    expect(await stockOff(running)).toEqual([]);
  },
);

test('on Redis, every app sees that its broker is well, and their probes leave nothing', async (context) => {
  await needsRedis(context);
  const running = shop as LocalShop;
  for (const service of ['orders', 'inventory', 'products', 'shipping']) {
    const health = `http://127.0.0.1:${running.endpoints(service).appPort}`;
    await until(
      `${service} to see its broker`,
      async () => (await call(health, 'GET', '/healthz')).body.components.broker?.status === 'ok',
    );
  }
  const keys = (await withRedis(running.brokerUrl, (send) => send('KEYS', '*'))) as string[];
  expect(keys.sort()).toEqual([
    'commands.inventory',
    'commands.payments',
    'commands.shipping',
    'inventory',
    'orders',
    'payments',
    'probe',
    'products',
    'shipping',
  ]);
  expect(await withRedis(running.brokerUrl, (send) => send('TYPE', 'probe'))).toBe('string');
});
