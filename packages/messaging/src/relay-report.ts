import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import { whyAway } from './outbox-check.ts';
import type { OutboxMessage, PublishError, QueueStatus } from './relay-queue.ts';
import type { SlotDepth } from './relay-session.ts';

/** Everything the relay says to people: metrics, log and the part `outbox` of the health details. */
export interface RelayReport {
  connected(): void;
  /** The database is away, or not as it must be. */
  disconnected(err: unknown): void;
  /** The broker acknowledged it, so long after it was asked to, in seconds. */
  published(message: OutboxMessage, seconds: number): void;
  /** `isNews`: its key was not refused so at the attempt before. */
  failed(message: OutboxMessage, err: unknown, o: Pick<PublishError, 'refused'> & { isNews: boolean }): void;
  /** How the keys are; to be told after each change. */
  keys(status: QueueStatus): void;
  /** Of the slots that this relay owns. */
  depth(slots: SlotDepth[]): void;
}

type Gauge = ReturnType<Metrics['gauge']>;

/** Failures of one key in a row, after which it shows in the health details. */
const NOTABLE_FAILURES = 3;

const REFUSED = {
  message:
    'Message was refused for what it is; it and its key wait, and it is tried again. Cure: raise the limit that the error names, or let the message go (docs/messages.md, What cannot be published)',
  service:
    'This service may not publish to the topic; its messages wait, and are tried again. Cure: the scopes of the component and the API token of the sidecar (npm run generate writes both)',
};

export function createRelayReport(o: { log: Logger; metrics: Metrics; health: Health }): RelayReport {
  const { log, metrics, health } = o;
  const depth = metrics.gauge(
    'sidecart_outbox_depth',
    'Messages written and not yet acknowledged, by the owner of their slot',
    ['slot'],
  );
  const oldest = metrics.gauge('sidecart_outbox_oldest_seconds', 'Age of the oldest of them', ['slot']);
  const publishSeconds = metrics.histogram(
    'sidecart_outbox_publish_seconds',
    'Time from asking the sidecar to its acknowledgement',
    ['topic'],
  );
  const publishedTotal = metrics.counter('sidecart_outbox_published_total', 'Messages acknowledged', [
    'topic',
  ]);
  const failuresTotal = metrics.counter(
    'sidecart_outbox_publish_failures_total',
    'Publishes not acknowledged',
    ['topic', 'refused'],
  );
  const failingKeys = metrics.gauge('sidecart_outbox_failing_keys', 'Keys whose next message was not taken', [
    'refused',
  ]);
  let away: string | undefined;
  let keys: QueueStatus = { topicsDown: [], failing: [] };
  let topicsDown = new Set<string>();

  function reportHealth(): void {
    const notable = keys.failing.filter((k) => k.refused || k.failures >= NOTABLE_FAILURES);
    const reasons = [
      ...(away === undefined ? [] : [away]),
      ...keys.topicsDown.map((topic) => `nothing can be published to ${topic}`),
      ...notable.slice(0, 3).map((k) => `${k.topic} ${k.key} waits, ${k.failures} failures: ${k.error}`),
      ...(notable.length > 3 ? [`${notable.length - 3} more keys wait`] : []),
    ];
    health.report(
      'outbox',
      reasons.length === 0 ? { status: 'ok' } : { status: 'degraded', reason: reasons.join('; ') },
    );
  }

  return {
    connected() {
      if (away !== undefined) log.info('Relay is connected again');
      away = undefined;
      reportHealth();
    },
    disconnected(err) {
      reportDepth(depth, oldest, []);
      if (away === undefined) log.warn({ err }, 'Relay cannot work with its database; it tries again');
      away = whyAway(err);
      keys = { topicsDown: [], failing: [] };
      reportHealth();
    },
    published(message, seconds) {
      publishedTotal.inc({ topic: message.topic });
      publishSeconds.observe({ topic: message.topic }, seconds);
    },
    failed(message, err, { refused, isNews }) {
      failuresTotal.inc({ topic: message.topic, refused: String(refused !== undefined) });
      const about = { topic: message.topic, key: message.msgKey, message_id: message.eventId, err };
      // Once: it is tried every few seconds, by keys that may be a thousand, until somebody does something.
      if (refused && isNews) log.error(about, REFUSED[refused]);
      else log.debug(about, 'Message could not be published; it is tried again');
    },
    keys(status) {
      keys = status;
      const refused = status.failing.filter((k) => k.refused).length;
      failingKeys.set({ refused: 'true' }, refused);
      failingKeys.set({ refused: 'false' }, status.failing.length - refused);
      const down = new Set(status.topicsDown);
      for (const topic of down) {
        if (topicsDown.has(topic)) continue;
        const reason = status.failing.find((k) => k.topic === topic)?.error;
        log.warn({ topic, reason }, 'Nothing can be published to this topic; it is tried again');
      }
      for (const topic of topicsDown) if (!down.has(topic)) log.info({ topic }, 'Publishing works again');
      topicsDown = down;
      reportHealth();
    },
    depth(slots) {
      reportDepth(depth, oldest, slots);
    },
  };
}

/** Another replica reports the slots that this one has no more. */
export function reportDepth(depth: Gauge, oldest: Gauge, slots: SlotDepth[]): void {
  depth.reset();
  oldest.reset();
  for (const { slot, messages, oldestSeconds } of slots) {
    depth.set({ slot }, messages);
    oldest.set({ slot }, oldestSeconds);
  }
}
