import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import { rootMessage } from './failures.ts';

/** A look from the start sees all that one at the latest sees, and what was due long before. */
export type Look = 'from the start' | 'at the latest';

/** Everything said to people about moving delayed messages: metrics, log and the part `delayed` of the health details. */
export interface DelayedReport {
  /** The first message has been due for so long, in seconds. */
  overdue(seconds: number): void;
  failed(look: Look, err: unknown): void;
  /** What such a look sees is moved. */
  worked(look: Look): void;
}

/** Failed looks since all of it was moved, after which it shows in the health details. */
const NOTABLE_FAILURES = 3;

export function createDelayedReport(o: { log: Logger; metrics: Metrics; health: Health }): DelayedReport {
  const overdue = o.metrics.gauge(
    'sidecart_outbox_delayed_overdue_seconds',
    'How long the first delayed message has been due; 0 when none is',
  );
  /** Those that failed last. What was refused is after a while seen by looks from the start alone, and goes on to be refused. */
  const failing = new Set<Look>();
  let failures = 0;

  return {
    overdue(seconds) {
      overdue.set(seconds);
    },
    failed(look, err) {
      failing.add(look);
      failures += 1;
      const reason = rootMessage(err);
      if (failures === 1) o.log.warn({ reason }, 'Delayed messages could not be moved; it is tried again');
      if (failures < NOTABLE_FAILURES) return;
      o.health.report('delayed', {
        status: 'degraded',
        reason: `messages that are due are not moved, ${failures} failures: ${reason}`,
      });
    },
    worked(look) {
      failing.delete(look);
      if (look === 'from the start') failing.clear();
      if (failing.size > 0) return;
      if (failures > 0) o.log.info('Delayed messages are moved again');
      failures = 0;
      o.health.report('delayed', { status: 'ok' });
    },
  };
}
