import { Logger, type Runner, run, runMigrations } from 'graphile-worker';
import type { Arm } from './arm.ts';
import { businessTransaction, countRows, writerPool } from './business.ts';
import type { Message } from './ledger.ts';

// Best, either of two: the settings of its own record, https://worker.graphile.org/docs/performance (24 jobs at once, a local
// queue of 500, finished jobs taken off in batches without delay), or the same without batches: with named queues a
// local queue gets one job of each and then waits for its poll. Order per key: a named queue per key,
// https://worker.graphile.org/docs/library/queue. Jobs are added in SQL, several with `add_jobs`,
// https://worker.graphile.org/docs/sql-add-job. Defaults: one job at a time, no batches.
const SETTINGS = {
  batching: {
    concurrentJobs: 24,
    maxPoolSize: 25,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
  'no batching': { concurrentJobs: 24, maxPoolSize: 25 },
  defaults: { concurrentJobs: 1 },
};

const ADD_JOB = {
  name: 'add_job',
  text: `SELECT 1 FROM graphile_worker.add_job('bench', payload := $1::json, queue_name := $2, run_at := $3::timestamptz)`,
};
const ADD_JOBS = {
  name: 'add_jobs',
  text: `SELECT count(*) FROM graphile_worker.add_jobs((
    SELECT array_agg(ROW('bench', payload, queue_name, run_at, NULL, NULL, NULL, NULL)::graphile_worker.job_spec)
    FROM unnest($1::json[], $2::text[], $3::timestamptz[]) AS spec (payload, queue_name, run_at)))`,
};

const silent = new Logger(() => () => {});

export function graphileWorker(kind: keyof typeof SETTINGS): Arm {
  return {
    prepare: (url) => runMigrations({ connectionString: url, logger: silent }),
    async open(o) {
      const pool = writerPool(o.url, o.writers);
      const runAt = growingTimes();
      let runner: Runner | undefined;
      const queue = (message: Message) => (o.ordered ? message.key : null);
      // Left to itself a job is as old as its transaction, and jobs of one age have no order.
      const time = () => (o.ordered ? runAt() : null);
      return {
        write: (messages) =>
          businessTransaction(pool, messages[0]?.key ?? '', (client) => {
            const [first] = messages;
            if (messages.length === 1 && first) {
              return client.query({ ...ADD_JOB, values: [JSON.stringify(first), queue(first), time()] });
            }
            const payloads = messages.map((message) => JSON.stringify(message));
            return client.query({ ...ADD_JOBS, values: [payloads, messages.map(queue), messages.map(time)] });
          }),
        async start() {
          runner = await run({
            preset: { worker: { connectionString: o.url, ...SETTINGS[kind] } },
            logger: silent,
            noHandleSignals: true,
            taskList: { bench: async (payload) => o.handled(payload as Message) },
          });
        },
        stop: async () => runner?.stop(),
        waiting: () => countRows(pool, 'SELECT count(*) AS n FROM graphile_worker._private_jobs'),
        close: () => pool.end(),
      };
    },
  };
}

/** Times with microseconds, each later than the one before and none ahead of the clock by more than what was asked for. */
function growingTimes(): () => string {
  let last = 0;
  return () => {
    last = Math.max(last + 1, Math.floor((performance.timeOrigin + performance.now()) * 1000));
    const micros = String(last % 1000).padStart(3, '0');
    return new Date(Math.floor(last / 1000)).toISOString().replace('Z', `${micros}Z`);
  };
}
