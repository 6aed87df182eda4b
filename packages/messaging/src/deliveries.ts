/** What this process remembers of messages that it could not handle yet. */
export interface Deliveries {
  /** Counts one more try of the message and returns how many there were. */
  count(topic: string, eventId: string): number;
  /** Its latest try failed, for this reason; it is tried again. */
  failed(topic: string, eventId: string, why: string): void;
  /** For how long, in ms, its tries have failed one after the other, and why the latest did; undefined before the first. */
  failure(topic: string, eventId: string): { forMs: number; why: string } | undefined;
  /** It could not be set aside: as if its tries had not failed yet. */
  startOver(topic: string, eventId: string): void;
  /** The message has come to its end, or was set aside; nothing more to remember. */
  forget(topic: string, eventId: string): void;
  /** The messages that fail whenever they are tried, and were not set aside. */
  failing(): FailingDelivery[];
}

export interface FailingDelivery {
  topic: string;
  eventId: string;
  tries: number;
  why: string;
}

interface Tries extends FailingDelivery {
  /** The first of the failures that count towards being set aside. */
  since?: number | undefined;
  firstFailedAt: number;
  failedAt: number;
}

/** A message that has failed for so long, in ms, fails by itself: longer than a sidecar's own attempts take, and than most outages of a moment. */
const FAILING_MS = 10_000;
/** One that was not tried again within it, in ms, is tried elsewhere, or was handled there: brokers deliver again within half of it. */
const FORGOTTEN_MS = 60_000;

/**
 * Counts tries in memory, of the latest `limit` messages: the sidecar does not pass on the broker's own count.
 * A restart or another replica counts anew. `now`: milliseconds of a monotonic clock; for tests.
 */
export function createDeliveries(limit = 10_000, now = () => performance.now()): Deliveries {
  const all = new Map<string, Tries>();
  const nameOf = (topic: string, eventId: string) => `${topic} ${eventId}`;
  return {
    count(topic, eventId) {
      const name = nameOf(topic, eventId);
      const found = all.get(name) ?? { topic, eventId, tries: 0, firstFailedAt: 0, failedAt: 0, why: '' };
      found.tries += 1;
      all.delete(name); // to the end: the oldest is dropped first
      all.set(name, found);
      if (all.size > limit) all.delete(all.keys().next().value as string);
      return found.tries;
    },
    failed(topic, eventId, why) {
      const found = all.get(nameOf(topic, eventId));
      if (!found) return;
      found.why = why;
      found.failedAt = now();
      found.firstFailedAt ||= found.failedAt;
      found.since ??= found.failedAt;
    },
    failure(topic, eventId) {
      const { since, failedAt = 0, why = '' } = all.get(nameOf(topic, eventId)) ?? {};
      return since === undefined ? undefined : { forMs: failedAt - since, why };
    },
    startOver(topic, eventId) {
      const found = all.get(nameOf(topic, eventId));
      if (found) found.since = undefined;
    },
    forget(topic, eventId) {
      all.delete(nameOf(topic, eventId));
    },
    failing() {
      const since = now() - FORGOTTEN_MS;
      return [...all.values()].filter(
        ({ firstFailedAt, failedAt }) => failedAt - firstFailedAt >= FAILING_MS && failedAt >= since,
      );
    },
  };
}
