import type { OutboxMessage } from './relay-queue.ts';
import type { Place, SlotPart } from './slot-read.ts';

/** A row of a queue, of no service. */
export function tableRow(
  id: number,
  key: string,
  keySeq: number,
  o: { topic?: string; slot?: number; bytes?: number } = {},
): OutboxMessage {
  const { topic = 'orders', slot = 0, bytes = 100 } = o;
  const headers = { time: '', correlationid: '', actor: '', traceparent: '' };
  const eventId = `${topic}-${key}-${keySeq}`;
  const rest = { type: 'T', payload: {}, headers };
  return { id: BigInt(id), slot, topic, msgKey: key, eventId, keySeq: String(keySeq), bytes, ...rest };
}

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
