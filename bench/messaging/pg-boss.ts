import { uuidv7 } from '@sidecart/kit/ids';
import { PgBoss } from 'pg-boss';
import type { Arm } from './arm.ts';
import { businessTransaction, countRows, writerPool } from './business.ts';
import type { Message } from './ledger.ts';

// Best: `insert` for any number of jobs (https://pgboss.io/api/jobs), workers that take batches and go on at once while
// batches are full (`batchSize`, `burstWhenBatchFull`, `localConcurrency`: https://pgboss.io/api/workers), woken by
// LISTEN/NOTIFY (`useListenNotify` and the queue's `notify`: https://pgboss.io/api/constructor) or, as a notification
// costs each writer a lock of the whole server, by the shortest poll it allows, 0.5 s. Order per key: the policy
// `key_strict_fifo` (https://pgboss.io/api/queues); it gives one job of a key at a time, so small batches are full more often. Sizes
// are the fastest of 10 to 500 jobs and 1 to 8 workers that were tried. Defaults: one job every 2 s.
const best = (ordered: boolean) => ({
  ...(ordered ? { batchSize: 10, localConcurrency: 1 } : { batchSize: 500, localConcurrency: 2 }),
  burstWhenBatchFull: true,
  pollingIntervalSeconds: 0.5,
  notifyPollingIntervalSeconds: 0.5,
});
const QUEUE = 'bench';

export function pgBoss(kind: 'notified' | 'polling' | 'defaults'): Arm {
  const bossFor = (url: string) => {
    const boss = new PgBoss({ connectionString: url, ...(kind === 'notified' && { useListenNotify: true }) });
    boss.on('error', (err) => console.error(`pg-boss: ${err.message}`));
    return boss;
  };
  return {
    async prepare(url, { ordered }) {
      const boss = bossFor(url);
      await boss.start();
      await boss.createQueue(QUEUE, {
        ...(ordered && { policy: 'key_strict_fifo' }),
        ...(kind === 'notified' && { notify: true }),
      });
      await boss.stop({ graceful: false });
    },
    async open(o) {
      const pool = writerPool(o.url, o.writers);
      const boss = bossFor(o.url);
      await boss.start();
      return {
        write: (messages) =>
          businessTransaction(pool, messages[0]?.key ?? '', (client) =>
            boss.insert(
              QUEUE,
              // Jobs of one transaction are of one age; ids that grow keep their order where the policy asks for one.
              messages.map((data) => ({ data, ...(o.ordered && { id: uuidv7(), singletonKey: data.key }) })),
              { db: { executeSql: (text, values) => client.query(text, values) } },
            ),
          ),
        async start() {
          await boss.work<Message>(QUEUE, kind === 'defaults' ? {} : best(o.ordered), async (jobs) => {
            for (const { data } of jobs) o.handled(data);
          });
        },
        stop: () => boss.stop({ graceful: true, timeout: 10_000 }),
        waiting: () =>
          countRows(
            pool,
            `SELECT count(*) AS n FROM pgboss.job WHERE name = '${QUEUE}' AND state < 'completed'`,
          ),
        close: () => pool.end(),
      };
    },
  };
}
