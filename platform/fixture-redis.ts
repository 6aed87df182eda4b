import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, type TestContext } from 'vitest';
import { openLedger } from '../local/ledger.ts';
import { freePort } from '../local/ports.ts';
import { ProgramError } from '../local/programs/errors.ts';
import { ensureInstalled } from '../local/programs/installed.ts';
import { redisCommand, redisStore, redisUrl } from '../local/redis.ts';
import { supervise } from '../local/supervisor.ts';
import { testFolder } from '../local/testing.ts';
import { skip } from '../tests/cluster/skip.ts';
import { pingRedis } from './redis-streams.ts';

/** Path of redis-server; ends the test, with the reason, on a machine without one. */
export async function needsRedis(context: TestContext): Promise<string> {
  try {
    return (await ensureInstalled('redisServer', process.env)).path;
  } catch (err) {
    if (err instanceof ProgramError) skip(context, err.message);
    throw err;
  }
}

/** A real broker, stopped when the test ends. */
export async function startRedis(context: TestContext) {
  const program = await needsRedis(context);
  const folder = testFolder();
  const store = join(folder, 'redis');
  mkdirSync(store);
  const port = await freePort();
  const url = redisUrl(port, 'secret');
  const redis = supervise(
    {
      name: 'redis',
      logFile: join(folder, 'redis.log'),
      command: () => redisCommand({ program, folder: store, port, password: 'secret' }),
      probe: () => pingRedis(url),
      rank: 1,
      stopSignal: 'SIGTERM',
      graceMs: 10_000,
    },
    { ledger: openLedger(join(folder, 'ledger.json')), say: () => {} },
  );
  onTestFinished(async () => void (await redis.end()));
  await redis.start();
  return { redis, url, port, empty: () => rmSync(redisStore(store), { recursive: true }) };
}
