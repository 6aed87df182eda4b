import { setTimeout as sleep } from 'node:timers/promises';
import type { Transaction } from '@sidecart/kit/db';
import { connectDatabase } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { createConsumer } from './consumer.ts';
import { on } from './handler.ts';
import { createLocalWorker } from './local-worker.ts';
import { delivery } from './testing.ts';

// A process of its own for the tests of what kills one: takes each number of its arguments as a message, and dies of 13. Without `watch` as
// the second argument nobody counts its deaths. With `together` as the third the messages come at once and take longer than the one
// that kills; with `local` so do those to itself. With `set aside` it takes what was set aside. Ends with 0 when every message was dealt with.

const [url = '', watch, how, ...numbers] = process.argv.slice(2);
const atOnce = how === 'together' || how === 'local';
const database = connectDatabase({ url, applicationName: 'consumer-fixture' });
const deps = { ...testDeps('inventory'), database };
const handler = on(z.object({ n: z.int() }), async (tx: Transaction, { data }) => {
  await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`);
  if (atOnce) await sleep(data.n === 13 ? 100 : 300);
  if (data.n === 13) process.kill(process.pid, 'SIGKILL');
  // Dead before it goes on.
  if (data.n === 13) await new Promise(() => {});
});
const consumer = createConsumer({
  ...deps,
  ...(how === 'set aside' && { sweepMs: 50 }),
  topics: { orders: { kind: 'fact', handlers: { Placed: handler } } },
});
const local = createLocalWorker({ ...deps, service: 'orders', handlers: { Remind: handler } });
const workers = [...(watch === 'watch' ? [consumer.worker] : []), ...(how === 'local' ? [local] : [])];
for (const { start } of workers) await start();

/** Until it is dealt with, as a broker does. */
async function deliver(n: string): Promise<void> {
  const body = delivery('Placed', { n: Number(n) }, { id: `m${n}`, key: `k${n}` });
  while ((await consumer.receive('orders', new TextEncoder().encode(body), {})) !== 'done') await sleep(50);
}
async function waits(table: 'outbox_local' | 'inbox_failing'): Promise<boolean> {
  const [row] = await database.db.execute(sql`SELECT FROM ${sql.identifier(table)}`);
  return row !== undefined;
}

if (atOnce) await Promise.all(numbers.map(deliver));
else for (const n of numbers) await deliver(n);
while (how === 'local' && (await waits('outbox_local'))) await sleep(50);
while (how === 'set aside' && (await waits('inbox_failing'))) await sleep(50);
for (const { stop } of workers) await stop();
await database.close();
process.exit(0);
