import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createDatabaseWatch } from './database-watch.ts';
import type { Database } from './db.ts';
import { testDeps } from './testing.ts';

test('an absent database degrades the health, is counted, and is noticed again when it is back', async () => {
  const deps = testDeps();
  let away = false;
  const sql = () =>
    away ? Promise.reject(Object.assign(new Error('x'), { code: 'ECONNREFUSED' })) : Promise.resolve([]);
  const watch = createDatabaseWatch({ ...deps, database: { sql } as unknown as Database, intervalMs: 10 });
  watch.start();
  await sleep(30);
  expect(deps.health.details()).toMatchObject({ status: 'ok', components: { database: { status: 'ok' } } });
  away = true;
  await sleep(50);
  expect(deps.health.details().components.database).toEqual({
    status: 'degraded',
    reason: 'ECONNREFUSED: x',
  });
  expect(deps.health.ready()).toBe(true);
  expect(await deps.metrics.registry.metrics()).toContain('sidecart_database_up{service="test"} 0');
  away = false;
  await sleep(50);
  expect(deps.health.details().status).toBe('ok');
  await watch.stop();
});

test.each([
  ['57P03', 'the database system is starting up', '57P03: the database system is starting up'],
  ['ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:5432', 'connect ECONNREFUSED 127.0.0.1:5432'],
  ['ECONNREFUSED', '', 'ECONNREFUSED'],
  [undefined, 'no code at all', 'no code at all'],
])('a fault with the code %s and the text "%s" is told as "%s"', async (code, text, reason) => {
  const deps = testDeps();
  const sql = () => Promise.reject(Object.assign(new Error(text), { code }));
  const watch = createDatabaseWatch({ ...deps, database: { sql } as unknown as Database });
  watch.start();
  await watch.stop();
  expect(deps.health.details().components.database).toEqual({ status: 'degraded', reason });
});
