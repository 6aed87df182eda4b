import { runInContext } from '@sidecart/kit/context';
import type { Database } from '@sidecart/kit/db';
import type { Logger } from '@sidecart/kit/log';
import { type Applied, applyDelivery, handlerOf, isOrdered, type TopicHandlers } from './applying.ts';
import { buryFailing } from './bury.ts';
import type { ConsumerReport } from './consumer-report.ts';
import { contextOf, type Delivery, readDelivery } from './delivery.ts';
import { claimFailing, type FailingMessage, noteWhy } from './failing.ts';
import { createFailingHands, type FailingHands } from './failing-hands.ts';
import type { FailureHandling } from './failure-handling.ts';
import { rootMessage } from './failures.ts';
import type { Guard } from './guard.ts';
import type { Place } from './key-order.ts';
import { releaseKey } from './set-aside.ts';

/** Tries what was set aside, until it is handled or becomes a dead letter. */
export function createRetries(o: {
  database: Database;
  log: Logger;
  topics: Record<string, TopicHandlers>;
  report: Pick<ConsumerReport, 'begin'>;
  guard: Pick<Guard, 'retried'>;
  handleFailure: FailureHandling;
  /** Goes on with a key whose message was handled. */
  drain: (key: Place) => Promise<void>;
  /** Time between two looks, in ms; half of it is the first rest between two tries of a message. */
  pollMs: number;
}): FailingHands {
  const { database, topics } = o;

  async function apply(
    message: FailingMessage,
    delivery: Delivery,
    stopping: AbortSignal,
  ): Promise<{ outcome: string; waiting?: Place }> {
    const { topic, eventId, body, headers, tries, place, passed } = message;
    const topicHandlers = topics[topic] as TopicHandlers;
    const raw = { body, headers };
    const done = o.report.begin(topic, delivery, { kept: true });
    const made = await runInContext(
      contextOf(delivery),
      async (): Promise<Pick<Applied, 'waiting'> & { outcome: string }> => {
        try {
          return await o.guard.retried(message, stopping, (retried) =>
            applyDelivery(database, { topic, topicHandlers, delivery, raw, retried }),
          );
        } catch (err) {
          const outcome = await o.handleFailure(
            err,
            { topic, eventId, delivery, ...raw, attempts: tries, passed },
            {
              bury: (dead) => buryFailing(database.db, dead, { place, passed }),
              quiet: !Number.isInteger(Math.log2(tries)),
            },
          );
          if (outcome === 'retry') await noteWhy(database.db, message, rootMessage(err)).catch(() => {});
          return { outcome };
        }
      },
    );
    done(made.outcome);
    return made;
  }

  // Not waited for: the hand is for what fails, and the sweep makes up for an end in between.
  const goOn = (waiting: Place | undefined) => {
    if (waiting) void o.drain(waiting);
  };

  /** What wants no order now, and did when it was set aside, or was so while nobody did, must not keep its key while it fails. */
  async function released(message: FailingMessage, { envelope }: Delivery): Promise<FailingMessage> {
    const topicHandlers = topics[message.topic] as TopicHandlers;
    if (message.passed || !isOrdered(topicHandlers) || handlerOf(topicHandlers, envelope?.type)?.ordered)
      return message;
    const { waiting } = await releaseKey(database, message);
    goOn(waiting);
    return { ...message, passed: true };
  }

  return createFailingHands({
    topics: Object.keys(topics),
    claim: (some, choice) => claimFailing(database.db, { topics: some, choice, restMs: o.pollMs / 2 }),
    async tryAgain(message, stopping) {
      const delivery = readDelivery(message.body);
      const { outcome, waiting } = await apply(await released(message, delivery), delivery, stopping);
      goOn(waiting);
      return outcome !== 'retry';
    },
    pollMs: o.pollMs,
    onError: (err) =>
      o.log.warn({ reason: rootMessage(err) }, 'Messages that were set aside could not be tried'),
  });
}
