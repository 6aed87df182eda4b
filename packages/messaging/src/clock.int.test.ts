import { chmodSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import { movableClock } from '../../../tests/faketime.ts';
import { ownPostgres } from '../../../tests/own-postgres.ts';
import { openPipeline } from './fixture-pipeline-run.ts';

/** One in a folder that everybody can read, as PostgreSQL is run by another user. */
function clockOf(context: TestContext) {
  const folder = mkdtempSync('/tmp/sidecart-clock-');
  chmodSync(folder, 0o755);
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return movableClock(context, join(folder, 'clock'));
}

test('the clock of a process an hour ahead, then an hour behind, in the middle of its work: order, retries and delays are as ever', async (context) => {
  const clock = clockOf(context);
  const pipeline = await openPipeline({ env: process.env });
  onTestFinished(pipeline.close);
  clock.set(1);
  const running = pipeline.run({ writes: 15, apartMs: 100, refusals: 6, delayMs: 1000 }, clock.env);
  await sleep(1_200);
  clock.set(-1);
  expect(await running).toBe('ended');
  await pipeline.check();
  const [moved] = await pipeline.sender.admin<{ hours: number }[]>`
    SELECT extract(epoch FROM max((headers->>'time')::timestamptz) - min((headers->>'time')::timestamptz))::float8 / 3600 AS hours
    FROM sent`;
  expect(moved?.hours).toBeGreaterThan(1.9);
  const written = await pipeline.sender.admin<{ n: number; at: Date }[]>`SELECT n, at FROM written`;
  const late = await pipeline.receiver.admin<
    { n: number; at: Date }[]
  >`SELECT n, at FROM applied WHERE key = 'late'`;
  expect(late).toHaveLength(15);
  const delays = late.map(
    ({ n, at }) => at.getTime() - (written.find((row) => row.n === n)?.at.getTime() ?? 0),
  );
  // Judged by the other clock they would be due at once, or in two hours; the machine's own may be set by parts of a second.
  expect(Math.min(...delays)).toBeGreaterThan(500);
});

test('the clock of the database an hour ahead and back again in the middle of the work: all is applied once, in order', async (context) => {
  const clock = clockOf(context);
  const { url } = await ownPostgres(context, { env: clock.env });
  const pipeline = await openPipeline({ env: process.env, serverUrl: url });
  onTestFinished(pipeline.close);
  const running = pipeline.run({ writes: 30, apartMs: 100, refusals: 6 });
  for (const hours of [1, -1, 0]) {
    await sleep(800);
    clock.set(hours);
  }
  expect(await running).toBe('ended');
  await pipeline.check();
  const [moved] = await pipeline.sender.admin<{ hours: number }[]>`
    SELECT extract(epoch FROM max(at) - min(at))::float8 / 3600 AS hours FROM written`;
  expect(moved?.hours).toBeGreaterThan(1.9);
});
