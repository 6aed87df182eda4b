import type { CloudEvent } from './envelope.ts';

/** Stands for the broker: keeps what arrives, in order, and knows when two of one key were on their way at once. */
export function recorder(answer: (event: CloudEvent, nth: number) => Promise<void> | void = () => {}) {
  const arrived: CloudEvent[] = [];
  const onTheWay = new Map<string, number>();
  const overlaps: string[] = [];
  return {
    arrived,
    overlaps,
    async publish(topic: string, event: CloudEvent): Promise<void> {
      const name = `${topic} ${event.partitionkey}`;
      const others = onTheWay.get(name) ?? 0;
      if (others > 0) overlaps.push(name);
      onTheWay.set(name, others + 1);
      arrived.push(event);
      try {
        await answer(event, arrived.length);
      } finally {
        onTheWay.set(name, (onTheWay.get(name) ?? 1) - 1);
      }
    },
  };
}

/** Numbers of each key in the order in which they first arrived. */
export function firstAppearances(arrived: CloudEvent[]): Map<string, number[]> {
  const seen = new Set<string>();
  const keys = new Map<string, number[]>();
  for (const event of arrived) {
    if (seen.has(event.id)) continue;
    seen.add(event.id);
    const numbers = keys.get(event.partitionkey) ?? [];
    numbers.push(Number(event.sequence));
    keys.set(event.partitionkey, numbers);
  }
  return keys;
}
