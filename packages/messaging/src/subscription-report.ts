import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';

/** Says which subscriptions bring nothing: metrics and the part `subscriptions` of the health details. */
export interface SubscriptionReport {
  /** Ends a round of the repair: on these topics messages that had not come were fetched from their senders. */
  endRound(fetched: ReadonlySet<string>): void;
}

/** One message alone may be lost by a broker that is well; on the next round's, nothing having come meanwhile, it is the way. */
const ROUNDS = 2;

/**
 * A sidecar that could not subscribe publishes, calls itself healthy and lists the subscription as if it worked (Dapr
 * 1.18). What gives it away is that messages are fetched from their senders again and again, and none is delivered.
 */
export function createSubscriptionReport(o: {
  topics: readonly string[];
  /** When the broker last delivered something of the topic, by the clock of `now`. */
  lastDelivery: (topic: string) => number;
  /** For how long a topic may deliver nothing while messages are overdue, in ms. */
  graceMs: number;
  log: Logger;
  metrics: Metrics;
  health: Health;
  /** Milliseconds of a monotonic clock; for tests. */
  now?: () => number;
}): SubscriptionReport {
  const now = o.now ?? (() => performance.now());
  const up = o.metrics.gauge(
    'sidecart_subscription_up',
    'Whether the broker delivers what is sent on the topic',
    ['topic'],
  );
  const topics = [...new Set(o.topics)];
  /** By topic: rounds that fetched something, and when the latest was, since the last delivery. */
  const silent = new Map<string, { rounds: number; at: number }>();
  let lastReason = '';

  return {
    endRound(fetched) {
      for (const topic of topics) {
        const before = silent.get(topic);
        if (before && o.lastDelivery(topic) > before.at) silent.delete(topic);
        // What many rounds fetch close to each other may be one loss.
        const since = now() - o.graceMs;
        if (fetched.has(topic) && o.lastDelivery(topic) < since && (silent.get(topic)?.at ?? since) <= since)
          silent.set(topic, { rounds: (silent.get(topic)?.rounds ?? 0) + 1, at: now() });
      }
      const down = topics.filter((topic) => (silent.get(topic)?.rounds ?? 0) >= ROUNDS);
      for (const topic of topics) up.set({ topic }, down.includes(topic) ? 0 : 1);
      const reason = down
        .map((topic) => `${topic}: nothing is delivered, messages are fetched from their senders`)
        .join('; ');
      o.health.report('subscriptions', reason === '' ? { status: 'ok' } : { status: 'degraded', reason });
      if (reason === lastReason) return;
      if (reason !== '')
        o.log.warn(
          {
            topics: down,
            cure: 'Look in the log of the sidecar for "Retry failed for subscription". "consumer name already in use": the broker’s consumer has other settings than the component; release both together (docs/kubernetes.md, "Change a component"). Nothing there: restart this pod.',
          },
          'The broker delivers nothing of these topics; messages are fetched from their senders, late',
        );
      else o.log.info('Every topic is delivered again');
      lastReason = reason;
    },
  };
}
