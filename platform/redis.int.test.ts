import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, onTestFinished, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../local/ports.ts';
import { redisUrl } from '../local/redis.ts';
import { testFolder } from '../local/testing.ts';
import { startRedis } from './fixture-redis.ts';
import { pingRedis, type RedisWanted, withRedis } from './redis-streams.ts';

const wanted: RedisWanted = {
  streams: [{ name: 'orders', max_age_ms: 3_600_000 }],
  consumers: [{ app: 'inventory', stream: 'orders', name: 'inventory-orders' }],
};

const soon = <T>(look: () => Promise<T>) => vi.waitFor(look, { timeout: 15_000, interval: 100 });

test('only who knows the password gets in', async (context) => {
  const { port } = await startRedis(context);
  await expect(pingRedis(redisUrl(port, 'guess'))).rejects.toThrow('WRONGPASS');
});

test('platform closes the key of the probes, again on a broker that came back empty, and drops what is too old', async (context) => {
  const { redis, url, empty } = await startRedis(context);
  const ask = (...command: string[]) => withRedis(url, (send) => send(...command));
  const file = join(testFolder(), 'streams.yaml');
  writeFileSync(file, stringify(wanted));
  const port = await freePort();
  const child = execa(process.execPath, [join(import.meta.dirname, 'main.ts'), 'streams'], {
    env: { BROKER_URL: url, STREAMS_FILE: file, PORT: String(port), LOOK_SECONDS: '0.2' },
    extendEnv: false,
    reject: false,
    all: true,
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  const health = async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).json();
  await soon(async () => expect(await health()).toMatchObject({ status: 'ok', ready: true }));
  expect(await ask('TYPE', 'probe')).toBe('string');

  // A sidecar was faster after the broker had lost everything: its probes are a stream.
  await redis.hold();
  await soon(async () => expect(await health()).toMatchObject({ status: 'degraded', ready: true }));
  empty();
  await redis.release();
  await soon(async () => expect(await ask('TYPE', 'probe')).toBe('string'));
  await ask('DEL', 'probe');
  await ask('XADD', 'probe', '*', 'data', 'probe').catch(() => {});
  await soon(async () => expect(await ask('TYPE', 'probe')).toBe('string'));

  const ages = [7_200_000, 1_800_000, 0];
  for (const age of ages) await ask('XADD', 'orders', `${Date.now() - age}-0`, 'data', String(age));
  await soon(async () => expect(await ask('XLEN', 'orders')).toBe(2));

  child.kill('SIGTERM');
  const { exitCode, all } = await child;
  expect(exitCode).toBe(0);
  expect(all).toContain('the key of the probes was closed');
  expect(all).toContain('the broker is back');
  expect(all).not.toContain('secret');
});
