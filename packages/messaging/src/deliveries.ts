/** What this process remembers of messages that it could not handle yet. */
export interface Deliveries {
  /** Counts one more delivery of the message and returns how many there were. */
  count(topic: string, eventId: string): number;
  /** The message has come to its end; nothing more to remember. */
  forget(topic: string, eventId: string): void;
}

/**
 * Counts deliveries in memory, of the latest `limit` messages: the sidecar does not pass on the broker's own count.
 * A restart or another replica counts anew.
 */
export function createDeliveries(limit = 10_000): Deliveries {
  const counts = new Map<string, number>();
  const nameOf = (topic: string, eventId: string) => `${topic} ${eventId}`;
  return {
    count(topic, eventId) {
      const name = nameOf(topic, eventId);
      const n = (counts.get(name) ?? 0) + 1;
      counts.delete(name); // to the end: the oldest is dropped first
      counts.set(name, n);
      if (counts.size > limit) counts.delete(counts.keys().next().value as string);
      return n;
    },
    forget(topic, eventId) {
      counts.delete(nameOf(topic, eventId));
    },
  };
}
