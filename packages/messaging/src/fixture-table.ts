import type { OutboxMessage } from './relay-queue.ts';
import type { Place, SlotPart } from './slot-read.ts';

/** What `readParts` finds at one place in a table of these rows, with limits of the test's own. */
export function partAt(
  rows: Iterable<OutboxMessage>,
  place: Place,
  takes: (row: OutboxMessage) => boolean,
  o: { limit: number; step: number },
): SlotPart {
  const looked = [...rows]
    .filter(({ slot, id }) => slot === place.slot && id > place.after)
    .sort((a, b) => Number(a.id - b.id))
    .slice(0, o.step);
  const taken = looked.filter(takes).slice(0, o.limit);
  const isFull = taken.length === o.limit;
  const inSteps = !isFull && looked.length === o.step;
  const last = isFull ? taken.at(-1) : looked.at(-1);
  return { rows: taken, to: last?.id ?? place.after, more: isFull || inSteps, inSteps };
}
