import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '@hono/node-server';
import { createApp } from '@sidecart/kit/app';
import { connectDatabase } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { createConsumer, mountConsumer } from '@sidecart/messaging/consumer';
import { on } from '@sidecart/messaging/handler';
import { sql } from 'drizzle-orm';
import { z } from 'zod';

// One replica of a receiving service as a process of its own, for the test that kills one. What it does with each message it is told:
// message n takes `plan[n].ms`, and fails in this process as often as `plan[n].failures` says before it is handled.

export interface ReaderOptions {
  name: string;
  databaseUrl: string;
  port: number;
  ordered: boolean;
  plan: { ms: number; failures: number }[];
}

const o = JSON.parse(process.argv[2] ?? '') as ReaderOptions;
const deps = testDeps('readers');
const failed = new Map<number, number>();
const handler = on(
  z.object({ key: z.string(), n: z.int() }),
  async (tx, { data: { key, n } }) => {
    const { ms, failures } = o.plan[n] ?? { ms: 0, failures: 0 };
    await sleep(ms);
    await tx.execute(sql`INSERT INTO applied (key, n, reader) VALUES (${key}, ${n}, ${o.name})`);
    const before = failed.get(n) ?? 0;
    failed.set(n, before + 1);
    if (before < failures) throw new Error('not now');
  },
  { ordered: o.ordered },
);
const consumer = createConsumer({
  ...deps,
  database: connectDatabase({ url: o.databaseUrl, applicationName: o.name, max: 10 }),
  sweepMs: 200,
  topics: { books: { kind: 'fact', handlers: { BookAdded: handler } } },
});
const app = createApp(deps);
mountConsumer(app, consumer);
await consumer.worker.start();
serve({ fetch: app.fetch, port: o.port, hostname: '127.0.0.1' });
