import type { Database } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import type { Handler } from './handler.ts';
import { type ApplyOptions, removeHandled } from './local-apply.ts';
import { localLoop } from './local-loop.ts';
import { createLocalReport } from './local-report.ts';
import { openLocalSession } from './local-session.ts';
import { createPoisonGuard } from './poison.ts';
import { keepSession } from './session-keeper.ts';
import { createWake } from './wake.ts';

export interface LocalWorkerOptions {
  service: string;
  /** Handlers run in transactions of this pool; slots are owned by one more connection to the same database. */
  database: Database;
  /** By type, for the messages of the topic `self`. */
  handlers: Readonly<Record<string, Handler>>;
  log: Logger;
  metrics: Metrics;
  health: Health;
  /** Transactions at a time, each with a connection of the pool; default 4. */
  concurrency?: number;
  /** How often the table is looked at without a nudge, in ms; default 200. */
  pollMs?: number;
  /** How long the worker may be silent, in ms, before the database frees its slots; default 5000. */
  idleSessionTimeoutMs?: number;
  /** How long a handler may take, in ms; default 10,000. */
  handlerTimeoutMs?: number;
  /** For tests; see {@link ApplyOptions}. */
  remove?: ApplyOptions['remove'];
}

export interface LocalWorker extends Worker {
  /** Something may have been committed: look at the table now, not at the next poll. */
  nudge(): void;
}

/**
 * Handles the messages that a service sent to itself (`send` of a command of the topic `self`), without a broker. An effect
 * and the end of its message commit in one transaction, so each message has its effect once, whatever dies. Messages of a key
 * whose handlers are `ordered` are handled in the order of writing. Replicas share the slots evenly, and each slot has one owner at a time.
 *
 * What a handler throws decides as it does for a consumer: a permanent failure makes a dead letter of the topic `self`, which
 * holds its key when the handler is `ordered`; everything else is tried again, without limit, and holds up its own key only:
 * however many fail, trying them again takes half of the time of their slot at most.
 *
 * `start` rejects with an OutboxSetupError when the tables are wrong; a database that is away is waited for.
 *
 * @example
 * const worker = createLocalWorker({ service: 'orders', database, log, metrics, health, handlers: {
 *   PaymentOverdue: on(PaymentOverdue, async (tx, { data }) => { await cancelOrder(tx, data.order_id); }, { ordered: true }),
 * } });
 */
export function createLocalWorker(o: LocalWorkerOptions): LocalWorker {
  const report = createLocalReport(o);
  const wake = createWake();
  const nudge = { look: false, announce: false };
  // Under another name than the consumer's own guard, which would take this one for the process before it.
  const instance = `${o.database.applicationName}-local`;
  const poison = createPoisonGuard({ ...o, database: { ...o.database, applicationName: instance } });
  const keeper = keepSession({
    open: () =>
      openLocalSession({
        url: o.database.url,
        applicationName: o.database.applicationName,
        idleSessionTimeoutMs: o.idleSessionTimeoutMs ?? 5000,
        onAnnounced: () => {
          nudge.look = true;
          wake.up();
        },
      }),
    loop: (session, stopping) =>
      localLoop({
        session,
        apply: {
          service: o.service,
          database: o.database,
          handlers: o.handlers,
          remove: o.remove ?? removeHandled,
          poison,
          observe: report.observe,
          handlerTimeoutMs: o.handlerTimeoutMs ?? 10_000,
        },
        concurrency: o.concurrency ?? 4,
        pollMs: o.pollMs ?? 200,
        stopping,
        wake,
        nudge,
        report,
      }),
    wake,
    connected: report.connected,
    disconnected: report.disconnected,
  });
  return {
    name: 'local-worker',
    nudge() {
      nudge.look = true;
      nudge.announce = true;
      wake.up();
    },
    async start() {
      await poison.start();
      await keeper.start();
    },
    async stop() {
      await keeper.stop();
      await poison.stop();
    },
  };
}
