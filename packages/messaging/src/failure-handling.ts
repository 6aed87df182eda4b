import type { Database } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import { handlerOf, isOrdered, type TopicHandlers } from './applying.ts';
import type { DeadMessage } from './bury.ts';
import { reportDeadLetters } from './dead-letter-report.ts';
import type { Deliveries } from './deliveries.ts';
import { type Delivery, placeOf } from './delivery.ts';
import { classifyFailure, type Failure, rootMessage } from './failures.ts';

/** A message whose handling failed. */
export interface FailedMessage {
  topic: string;
  eventId: string;
  delivery: Delivery;
  body: Uint8Array;
  headers: Record<string, string>;
  attempts: number;
  /** The key has passed it, and waits for it no more. */
  passed?: boolean;
}

/** Decides what becomes of a message whose handling failed: `retry` when it is to be tried again, else it was buried. Never throws. */
export type FailureHandling = (
  err: unknown,
  message: FailedMessage,
  o: {
    bury: (dead: DeadMessage) => Promise<boolean>;
    /** It has been told of often enough. */
    quiet?: boolean;
  },
) => Promise<'retry' | 'dead_letter' | 'duplicate'>;

/** Dead letters are counted at a burial, but not again so soon, in ms: each count reads all that wait. Housekeeping counts the rest. */
const COUNT_MS = 1000;

export function createFailureHandling(o: {
  database: Database;
  log: Logger;
  metrics: Metrics;
  health: Health;
  topics: Record<string, TopicHandlers>;
  deliveries: Pick<Deliveries, 'failed'>;
}): FailureHandling {
  const { log, topics, deliveries } = o;
  let countAt = 0;

  function deadMessage(message: FailedMessage): Omit<DeadMessage, 'reason' | 'detail'> {
    const { topic, eventId, delivery, body, headers, attempts, passed = false } = message;
    const { envelope } = delivery;
    const topicHandlers = topics[topic] as TopicHandlers;
    const ordered = handlerOf(topicHandlers, envelope?.type)?.ordered ?? false;
    return {
      ...{ topic, eventId, body, headers, attempts },
      type: envelope?.type,
      key: envelope?.partitionkey,
      place: envelope && isOrdered(topicHandlers) ? placeOf(topic, envelope) : undefined,
      holdsKey: ordered && !passed,
    };
  }

  async function countDead(): Promise<void> {
    if (performance.now() < countAt) return;
    countAt = performance.now() + COUNT_MS;
    await reportDeadLetters(o).catch((err: unknown) => {
      log.warn({ reason: rootMessage(err) }, 'Dead letters could not be counted');
    });
  }

  return async (err, message, { bury, quiet = false }) => {
    const { topic, eventId, attempts, delivery } = message;
    const failure: Failure = classifyFailure(err);
    const about = { topic, type: delivery.envelope?.type, message_id: eventId, attempts };
    if (failure.kind === 'transient') {
      deliveries.failed(topic, eventId, rootMessage(err));
      const firstBug = !failure.expected && attempts === 1;
      if (firstBug) log.error({ ...about, err }, 'Handling failed unexpectedly; the message will come again');
      else if (!quiet)
        log.warn({ ...about, reason: rootMessage(err) }, 'Handling failed; the message will come again');
      return 'retry';
    }
    try {
      const { kind: _, ...why } = failure;
      if (!(await bury({ ...deadMessage(message), ...why }))) return 'duplicate';
      log.error({ ...about, ...why }, 'Message can never be handled; kept in dead_letter');
    } catch (buryErr) {
      const reason = rootMessage(buryErr);
      deliveries.failed(topic, eventId, reason);
      if (!quiet)
        log.warn({ ...about, reason }, 'Dead letter could not be written; the message will come again');
      return 'retry';
    }
    await countDead();
    return 'dead_letter';
  };
}
