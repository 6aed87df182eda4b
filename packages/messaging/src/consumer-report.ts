import type { Database } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import { handlerOf, isOrdered, type TopicHandlers } from './applying.ts';
import type { FailingDelivery } from './deliveries.ts';
import type { Delivery } from './delivery.ts';
import { failingByTopic } from './failing.ts';
import { waitingKeys } from './key-order.ts';
import { INBOX_DAYS } from './limits.ts';

/** What the receiving side says to people: metrics and the part `inbox` of the health details. */
export interface ConsumerReport {
  /**
   * The handling of a message begins; what it returns is called with what became of it. `kept`: it is handled from a table here, and its
   * inbox row is kept until then.
   */
  begin(topic: string, delivery: Delivery, o?: { kept: boolean }): (outcome: string) => void;
  /** Looks how much waits for its turn, and what fails again and again. */
  countWaiting(): Promise<void>;
}

/** A key that waits for so long is worth a look: what was lost is repaired sooner. */
const NOTABLE_SECONDS = 90;
/** And a message that was set aside so long ago: what failed for a moment is handled sooner. */
const NOTABLE_FAILING_SECONDS = 10;
const DAY = 24 * 60 * 60;
const REMEMBERED_SECONDS = INBOX_DAYS * DAY;

export function createConsumerReport(o: {
  database: Database;
  log: Logger;
  metrics: Metrics;
  health: Health;
  topics: Record<string, TopicHandlers>;
  failing: () => FailingDelivery[];
}): ConsumerReport {
  const { metrics } = o;
  const handled = metrics.counter('sidecart_inbox_handled_total', 'Deliveries by what became of them', [
    'topic',
    'type',
    'outcome',
  ]);
  const duration = metrics.histogram(
    'sidecart_inbox_handling_seconds',
    'Time from a delivery to its answer',
    ['topic', 'type'],
    [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
  );
  const age = metrics.histogram(
    'sidecart_inbox_age_seconds',
    'Time from the writing of a message to the end of a delivery of it',
    ['topic', 'outcome'],
    [
      0.01,
      0.05,
      0.1,
      0.5,
      1,
      5,
      30,
      120,
      600,
      3600,
      21_600,
      DAY,
      2 * DAY,
      4 * DAY,
      5 * DAY,
      6 * DAY,
      7 * DAY,
    ],
  );
  const forgotten = metrics.counter(
    'sidecart_inbox_forgotten_total',
    'Messages dealt with that are older than the inbox remembers: they may have been before',
    ['topic'],
  );
  // An alert on what has been added sees the first one only where there was a 0 before.
  for (const topic of Object.keys(o.topics)) forgotten.inc({ topic }, 0);
  const parked = metrics.gauge('sidecart_inbox_parked', 'Messages that wait for one before them', ['topic']);
  const oldest = metrics.gauge(
    'sidecart_inbox_parked_oldest_seconds',
    'How long the first of a key has waited, of the key on which that is longest',
    ['topic'],
  );
  const held = metrics.gauge(
    'sidecart_inbox_held_keys',
    'Keys that wait for a decision about a dead letter',
    ['topic'],
  );
  const failingNow = metrics.gauge(
    'sidecart_inbox_failing',
    'Messages that fail whenever they are tried, set aside or in this process',
    ['topic'],
  );

  /** Only known types become a label: a sender could make up any number of them. */
  function typeLabel(topic: string, { envelope }: Delivery): string {
    const topicHandlers = o.topics[topic] as TopicHandlers;
    return envelope && handlerOf(topicHandlers, envelope.type) ? envelope.type : 'other';
  }

  /** Those that were set aside, and those of this process that could not be. */
  async function reportFailing(): Promise<string[]> {
    const reasons: string[] = [];
    const kept = await failingByTopic(o.database.db);
    const here = Map.groupBy(o.failing(), ({ topic }) => topic);
    for (const topic of new Set([...Object.keys(o.topics), ...Object.keys(kept)])) {
      const aside = kept[topic];
      const deliveries = here.get(topic) ?? [];
      const messages = (aside?.messages ?? 0) + deliveries.length;
      failingNow.set({ topic }, messages);
      const one =
        deliveries.at(-1) ?? (aside && aside.seconds >= NOTABLE_FAILING_SECONDS ? aside : undefined);
      if (!one) continue;
      const { eventId, tries, why } = one;
      const reason = `${messages} message(s) of ${topic} fail again and again`;
      reasons.push(
        Object.hasOwn(o.topics, topic)
          ? `${reason}, ${eventId} ${tries} times: ${why}`
          : `${reason} and were set aside, and this service does not consume it any more`,
      );
    }
    return reasons;
  }

  return {
    begin(topic, delivery, { kept } = { kept: false }) {
      const type = typeLabel(topic, delivery);
      const written = delivery.envelope?.time;
      const began = performance.now();
      return (outcome) => {
        handled.inc({ topic, type, outcome });
        duration.observe({ topic, type }, (performance.now() - began) / 1000);
        const since = Date.parse(written ?? '');
        if (Number.isNaN(since)) return;
        const seconds = Math.max(0, (Date.now() - since) / 1000);
        age.observe({ topic, outcome }, seconds);
        if (kept || seconds < REMEMBERED_SECONDS || outcome === 'duplicate' || outcome === 'retry') return;
        forgotten.inc({ topic });
        o.log.error(
          { topic, type, written, outcome },
          'A message is older than the inbox remembers; it may have been dealt with before',
        );
      };
    },
    async countWaiting() {
      const reasons = await reportFailing();
      const found = await waitingKeys(o.database.db, Object.keys(o.topics));
      for (const [topic, handlers] of Object.entries(o.topics)) {
        const now = found[topic] ?? { messages: 0, oldestSeconds: 0, held: 0, missing: 0, missingSeconds: 0 };
        parked.set({ topic }, now.messages);
        oldest.set({ topic }, Math.max(0, now.oldestSeconds));
        held.set({ topic }, now.held);
        if (!isOrdered(handlers)) continue; // what waited while the order was wanted is being handled
        if (now.held > 0)
          reasons.push(`${now.held} key(s) of ${topic} wait for a decision about a dead letter`);
        if (now.missingSeconds > NOTABLE_SECONDS)
          reasons.push(`${now.missing} key(s) of ${topic} wait for a message that does not come`);
      }
      o.health.report(
        'inbox',
        reasons.length === 0 ? { status: 'ok' } : { status: 'degraded', reason: reasons.join('; ') },
      );
    },
  };
}
