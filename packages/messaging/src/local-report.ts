import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import { type Failure, rootMessage } from './failures.ts';
import type { Trouble } from './local-slots.ts';
import { whyAway } from './outbox-check.ts';
import type { OutboxMessage } from './relay-queue.ts';
import { reportDepth } from './relay-report.ts';
import type { SlotDepth } from './relay-session.ts';

/** Everything the local worker says to people: metrics, log and the part `local` of the health details. */
export interface LocalReport {
  connected(): void;
  /** The database is away, or not as it must be. */
  disconnected(err: unknown): void;
  handled(messages: readonly OutboxMessage[]): void;
  observe(type: string, seconds: number): void;
  failed(message: OutboxMessage, trouble: Trouble, err: unknown, expected: boolean): void;
  buried(message: OutboxMessage, failure: Extract<Failure, { kind: 'permanent' }>, attempts: number): void;
  lost(): void;
  /** The keys that wait for another try; to be told after each change. */
  troubles(troubles: Trouble[]): void;
  depth(slots: SlotDepth[]): void;
}

/** Failures of one key in a row, after which it shows in the health details. */
const NOTABLE_FAILURES = 3;

export function createLocalReport(o: { log: Logger; metrics: Metrics; health: Health }): LocalReport {
  const { log, metrics, health } = o;
  const depth = metrics.gauge(
    'sidecart_local_depth',
    'Messages to oneself written and not yet handled, by the owner of their slot',
    ['slot'],
  );
  const oldest = metrics.gauge('sidecart_local_oldest_seconds', 'Age of the oldest of them', ['slot']);
  const handled = metrics.counter(
    'sidecart_local_handled_total',
    'Messages to oneself by what became of them',
    ['type', 'outcome'],
  );
  const seconds = metrics.histogram('sidecart_local_handler_seconds', 'Time in the handler', ['type']);
  const failingKeys = metrics.gauge('sidecart_local_failing_keys', 'Keys whose next message failed');
  let away: string | undefined;
  let failing: Trouble[] = [];

  function reportHealth(): void {
    const notable = failing.filter((t) => t.failures >= NOTABLE_FAILURES);
    const reasons = [
      ...(away === undefined ? [] : [away]),
      ...notable.slice(0, 3).map((t) => `${t.key} waits, ${t.failures} failures: ${t.error}`),
      ...(notable.length > 3 ? [`${notable.length - 3} more keys wait`] : []),
    ];
    health.report(
      'local',
      reasons.length === 0 ? { status: 'ok' } : { status: 'degraded', reason: reasons.join('; ') },
    );
  }

  return {
    connected() {
      if (away !== undefined) log.info('Local worker is connected again');
      away = undefined;
      reportHealth();
    },
    disconnected(err) {
      if (away === undefined) log.warn({ err }, 'Local worker cannot work with its database; it tries again');
      away = whyAway(err);
      failing = [];
      failingKeys.set(0);
      reportDepth(depth, oldest, []);
      reportHealth();
    },
    handled(messages) {
      for (const { type } of messages) handled.inc({ type, outcome: 'applied' });
    },
    observe(type, time) {
      seconds.observe({ type }, time);
    },
    failed(message, trouble, err, expected) {
      handled.inc({ type: message.type, outcome: 'retry' });
      const about = aboutOf(message, trouble.failures);
      if (!expected && trouble.failures === 1)
        log.error({ ...about, err }, 'Local handling failed unexpectedly; it is tried again');
      else log.warn({ ...about, reason: rootMessage(err) }, 'Local handling failed; it is tried again');
    },
    buried(message, { reason, detail }, attempts) {
      handled.inc({ type: message.type, outcome: 'dead_letter' });
      log.error(
        { ...aboutOf(message, attempts), reason, detail },
        'Message can never be handled; kept in dead_letter',
      );
    },
    lost() {
      log.warn('Messages were handled by another worker at the same time; nothing was done twice');
    },
    troubles(troubles) {
      failing = troubles;
      failingKeys.set(troubles.length);
      reportHealth();
    },
    depth(slots) {
      reportDepth(depth, oldest, slots);
    },
  };
}

function aboutOf(message: OutboxMessage, attempts: number) {
  return { type: message.type, key: message.msgKey, message_id: message.eventId, attempts };
}
