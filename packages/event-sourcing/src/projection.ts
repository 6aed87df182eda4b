import type { Database, Transaction } from '@sidecart/kit/db';
import type { Tagged } from './decider.ts';
import type { EventMeta } from './meta.ts';

/** An event with where and when it was recorded. */
export interface RecordedEvent<Event extends Tagged = Tagged> extends PlainEvent<Event> {
  meta: EventMeta;
}

/** The same without who, why, which request and trace. */
export interface PlainEvent<Event extends Tagged = Tagged> {
  streamId: string;
  version: number;
  /** When it was appended, by the database's clock. */
  at: Date;
  event: Event;
}

/**
 * A read model that is made from events. Within a stream events come in order, each once; between streams in the order of their
 * positions, but what was archived comes first when a read model is rebuilt: do not build on an order between streams.
 */
export type Projection<Event extends Tagged = Tagged> = ProjectionOf<Event> | PlainProjection<Event>;

interface ReadModel {
  name: string;
  /** Counted from 1. Change it when the same events make other rows: the rows are then made anew, beside those that are read. */
  codeVersion: number;
  /** Deletes up to so many rows of a generation that nobody reads any more; returns how many there were. */
  discard(db: Database['db'], generation: number, limit: number): Promise<number>;
}

interface ProjectionOf<Event extends Tagged> extends ReadModel {
  needsMeta?: true;
  /** Writes what the events make of the rows of a generation, in `tx` and nowhere else. */
  apply(tx: Transaction, generation: number, events: readonly RecordedEvent<Event>[]): Promise<void>;
}

/** One that does without `meta`, which is a quarter of all work of reading. */
interface PlainProjection<Event extends Tagged> extends ReadModel {
  needsMeta: false;
  apply(tx: Transaction, generation: number, events: readonly PlainEvent<Event>[]): Promise<void>;
}
