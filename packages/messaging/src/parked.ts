import type { Database } from '@sidecart/kit/db';
import type { Logger } from '@sidecart/kit/log';
import { applyNext, isOrdered, type NextStep, type TopicHandlers } from './applying.ts';
import { buryParked } from './bury.ts';
import type { ConsumerReport } from './consumer-report.ts';
import type { Deliveries } from './deliveries.ts';
import type { Delivery } from './delivery.ts';
import type { FailureHandling } from './failure-handling.ts';
import { HandlerTimeoutError, PoisonError, rootMessage } from './failures.ts';
import type { Guard } from './guard.ts';
import { nextWaiting, type Parked, type Place, readyKeys } from './key-order.ts';
import { MAX_STARTS } from './limits.ts';
import type { PoisonGuard } from './poison.ts';
import { setAsideParked } from './set-aside.ts';

/** What waits for its turn. */
export interface ParkedMessages {
  /** Goes on with a key whose next message may be among those that wait. Never throws. */
  drain(key: Omit<Place, 'seq'>): Promise<void>;
  /** Goes on with the keys that a process left which ended between two messages of them. */
  sweep(signal: AbortSignal): Promise<void>;
}

/** Thrown in place of handling a message that has failed before. */
class FailedBeforeError extends Error {}

/** A message that was about to be handled. */
type Seen = NextStep & { parked: Parked & { body: Uint8Array }; delivery: Delivery };

export function createParkedMessages(o: {
  database: Database;
  log: Logger;
  topics: Record<string, TopicHandlers>;
  deliveries: Deliveries;
  report: Pick<ConsumerReport, 'begin'>;
  poison: Pick<PoisonGuard, 'watching'>;
  guard: Pick<Guard, 'guarded' | 'inTime'>;
  handleFailure: FailureHandling;
  onSetAside: () => void;
}): ParkedMessages {
  const { database, log, topics, deliveries, guard } = o;
  const { ordered = [], unordered = [] } = Object.groupBy(Object.keys(topics), (topic) =>
    isOrdered(topics[topic] as TopicHandlers) ? 'ordered' : 'unordered',
  );

  /**
   * While deaths are counted, the message is looked up first: counting takes a connection of its own, and those who wait for one
   * inside of a transaction would wait for each other.
   */
  async function applyGuarded(
    topicHandlers: TopicHandlers,
    key: Omit<Place, 'seq'>,
    seen: (step: NextStep) => void,
  ): Promise<NextStep | undefined> {
    const waiting = o.poison.watching() && (await nextWaiting(database.db, key, isOrdered(topicHandlers)));
    const next = waiting ? waiting.eventId : undefined;
    const apply = (starts: number) =>
      applyNext(database, topicHandlers, key, (step) => {
        seen(step);
        if (step.parked?.eventId === next && starts > MAX_STARTS) throw new PoisonError(starts - 1);
      });
    return next === undefined ? guard.inTime(() => apply(0)) : guard.guarded(key.topic, next, apply);
  }

  /** Whether the key can go on. */
  async function setAside(topicHandlers: TopicHandlers, { place, parked, delivery }: Seen): Promise<boolean> {
    const { topic } = place;
    const { why = '' } = deliveries.failure(topic, parked.eventId) ?? {};
    try {
      const { eventId } = parked;
      await setAsideParked(database, topicHandlers, { place, eventId, type: delivery.envelope?.type, why });
      deliveries.forget(topic, parked.eventId);
      o.onSetAside();
      return true;
    } catch (err) {
      const about = {
        ...place,
        seq: String(place.seq),
        message_id: parked.eventId,
        reason: rootMessage(err),
      };
      log.warn(about, 'A message that fails again and again could not be set aside');
      deliveries.startOver(topic, parked.eventId);
      return false;
    }
  }

  /** Deals with the next message of the key, and says whether there may be one more. */
  async function step(topicHandlers: TopicHandlers, key: Omit<Place, 'seq'>): Promise<boolean> {
    let about: Seen | undefined;
    let done: (outcome: string) => void = () => {};
    let over = false;
    const seen = (next: NextStep) => {
      // It has waited for longer than it had time, and nobody would know what became of it.
      if (over) throw new HandlerTimeoutError('Its time was over before its turn came');
      about = next as Seen;
      const { parked, delivery } = about;
      done = o.report.begin(key.topic, delivery, { kept: true });
      // Set aside not at its failure but now: a handler that hangs still holds the key then.
      if (deliveries.failure(key.topic, parked.eventId)) throw new FailedBeforeError();
    };
    try {
      const next = await applyGuarded(topicHandlers, key, seen);
      if (next?.parked) {
        deliveries.forget(key.topic, next.parked.eventId);
        done('applied');
      }
      return next !== undefined;
    } catch (err) {
      over = true;
      if (!about) {
        log.warn({ ...key, reason: rootMessage(err) }, 'Messages that wait could not be looked at');
        return false;
      }
      if (err instanceof FailedBeforeError) {
        const aside = await setAside(topicHandlers, about);
        done(aside ? 'set_aside' : 'retry');
        return aside;
      }
      const { place, parked, delivery } = about;
      const { eventId } = parked;
      const attempts = deliveries.count(key.topic, eventId);
      const outcome = await o.handleFailure(
        err,
        { topic: key.topic, delivery, attempts, ...parked },
        { bury: (dead) => buryParked(database.db, { ...dead, place }) },
      );
      if (outcome !== 'retry') deliveries.forget(key.topic, eventId);
      done(outcome);
      return false;
    }
  }

  async function drain(key: Omit<Place, 'seq'>): Promise<void> {
    const topicHandlers = topics[key.topic];
    while (topicHandlers && (await step(topicHandlers, key)));
  }

  return {
    drain,
    async sweep(signal) {
      for (const key of await readyKeys(database.db, { ordered, unordered })) {
        if (signal.aborted) return;
        await drain(key);
      }
    },
  };
}
