import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import { createWake } from '@sidecart/messaging/wake';
import { type PaymentDeps, settleOperation } from './commands.ts';
import { type AskProvider, inShort } from './provider.ts';
import { type ClaimedOperation, claimOperations, pendingOperations, postponeOperation } from './store.ts';

export interface WorkerOptions extends PaymentDeps {
  ask: AskProvider;
  log: Logger;
  metrics: Metrics;
  health: Health;
  /** How long an operation is this worker's, in ms: above what asking and storing take. Default 15,000. */
  leaseMs?: number;
  /** How often it is looked for operations that are due, without a nudge, in ms. Default 500. */
  pollMs?: number;
  /** Operations asked for at a time. Default 8. */
  concurrency?: number;
  /** The pause after the first attempt in vain, in ms; each is twice the one before, up to a minute. Default 500. */
  backOffMs?: number;
  /** How often it is measured what waits, in ms. Default 5000. */
  measureMs?: number;
  /** After so long in vain, in ms, an operation shows in the health details. Default 60,000. */
  patienceMs?: number;
}

const MAX_BACK_OFF_MS = 60_000;
/** For operations under way, when the worker is stopped, in ms. */
const STOP_MS = 3000;

/**
 * Asks the provider for what was decided. Any number of replicas may: an operation is one worker's at a time, and if its worker dies it
 * is asked for again, under the same key, so that it is done once. What it leads to is stored together with the fact about it. Nothing
 * is given up: without an answer it is asked for again, for ever, ever more slowly.
 */
export function createPaymentWorker(o: WorkerOptions): Worker {
  const { db } = o.database;
  const { leaseMs = 15_000, pollMs = 500, concurrency = 8, backOffMs = 500 } = o;
  const { measureMs = 5000, patienceMs = 60_000 } = o;
  const calls = o.metrics.counter(
    'sidecart_payment_provider_calls_total',
    'What the provider was asked for',
    ['kind', 'outcome'],
  );
  const pending = o.metrics.gauge(
    'sidecart_payment_operations_pending',
    'Operations that wait for the provider',
  );
  const oldest = o.metrics.gauge(
    'sidecart_payment_oldest_pending_seconds',
    'How long the oldest operation waits that the provider was asked for in vain',
  );
  const wake = createWake();
  const underWay = new Map<string, { operation: ClaimedOperation; done: Promise<void> }>();
  let stopping = false;
  let ended: Promise<void> = Promise.resolve();
  let measureAt = 0;
  let isAway = false;
  /** What came of the last question, if it was in vain. */
  let trouble: string | undefined;

  async function work(operation: ClaimedOperation): Promise<void> {
    const { key, kind, attempts } = operation;
    try {
      // Outside of any request: the provider is not told who in the shop asks.
      const outcome = await o.ask(operation);
      trouble = undefined;
      calls.inc({ kind, outcome: outcome.state });
      const won = await settleOperation(o, operation, outcome);
      if (!won) o.log.info({ key }, 'a webhook was faster than the answer');
    } catch (err) {
      trouble = inShort(err);
      calls.inc({ kind, outcome: 'unknown' });
      const pauseMs = Math.min(MAX_BACK_OFF_MS, backOffMs * 2 ** Math.min(attempts - 1, 20));
      o.log.warn({ err, key, attempts, pause_ms: pauseMs }, 'the outcome of an operation is unknown');
      // If this fails as well, the end of the lease does the same.
      await postponeOperation(db, operation, pauseMs).catch(() => {});
    }
  }

  function start(operation: ClaimedOperation): void {
    const done = work(operation).finally(() => {
      underWay.delete(operation.key);
      // It may have led to another operation, and there is room for one.
      wake.up();
    });
    underWay.set(operation.key, { operation, done });
  }

  async function measure(): Promise<void> {
    const found = await pendingOperations(db);
    pending.set(found.count);
    oldest.set(found.oldestSeconds);
    const away = found.oldestSeconds * 1000 > patienceMs;
    const waits = `${found.count} operations wait, the oldest for ${Math.round(found.oldestSeconds)} s`;
    const reason = trouble === undefined ? waits : `${waits}; the last one asked for got ${trouble}`;
    o.health.report('provider', away ? { status: 'degraded', reason } : { status: 'ok' });
    if (away && !isAway) o.log.error({ reason }, 'the payment provider does not answer');
    if (!away && isAway) o.log.info('the payment provider has answered everything');
    isAway = away;
  }

  async function run(): Promise<void> {
    while (!stopping) {
      try {
        const room = concurrency - underWay.size;
        const claimed = room > 0 ? await claimOperations(db, { leaseMs, limit: room }) : [];
        claimed.forEach(start);
        if (performance.now() >= measureAt) {
          await measure();
          measureAt = performance.now() + measureMs;
        }
      } catch (err) {
        o.log.warn({ err }, 'operations cannot be looked for');
      }
      if (!stopping) await wake.sleep(pollMs);
    }
  }

  // Whatever was committed may have been a command.
  o.database.onCommit(() => wake.up());

  return {
    name: 'payment-worker',
    start() {
      ended = run();
    },
    async stop() {
      stopping = true;
      wake.up();
      await ended;
      const all = Promise.all([...underWay.values()].map(({ done }) => done));
      await Promise.race([all, new Promise((resolve) => setTimeout(resolve, STOP_MS).unref())]);
      // Another replica need not wait for the end of the lease: two that ask under one key are as good as one.
      for (const { operation } of underWay.values())
        await postponeOperation(db, operation, 0).catch(() => {});
    },
  };
}
