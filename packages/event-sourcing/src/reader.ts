import type { Transaction } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { CONDENSED, type Shape, toEvent } from './aggregate.ts';
import type { Tagged } from './decider.ts';
import type { EventMeta } from './meta.ts';
import type { RecordedEvent } from './projection.ts';

/** A stored event with all that a reader wants of it. */
export interface PositionedRow {
  stream_id: string;
  version: number;
  pos: string;
  type: string;
  schema_version: number;
  data: unknown;
  meta: EventMeta;
  /** Milliseconds of the epoch. */
  at: number;
}

export const POSITIONED = `stream_id, version::float8 AS version, pos::text AS pos, type, schema_version, data, meta,
  (extract(epoch FROM at) * 1000)::float8 AS at`;

// Both readers take the difference of two snapshots of the database: what is visible now and was not then. That is exact, whatever
// transactions ran in between and however long; a position "after the last one seen" skips what commits late with a lower number,
// and one by transaction id waits for the oldest transaction of the server (PgQ's method, https://github.com/pgq/pgq).

const SINCE = `
  SELECT ${POSITIONED} FROM events
  WHERE (xid >= pg_snapshot_xmax($1::text::pg_snapshot) OR xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot))))
    AND type <> '${CONDENSED}'
  ORDER BY events.pos LIMIT $2::int`;

const BETWEEN = `
  SELECT ${POSITIONED} FROM events
  WHERE events.pos > $3::text::bigint AND pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
    AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot) AND type <> '${CONDENSED}'
  ORDER BY events.pos LIMIT $4::int`;

/** What `tx`, which must be REPEATABLE READ, sees and the snapshot `done` does not: the first so many by position. */
export function eventsSince(tx: Transaction, done: string, limit: number): Promise<PositionedRow[]> {
  return runPrepared<PositionedRow>(tx, 'events_since', SINCE, [done, limit]);
}

/** What the snapshot `target` sees and `done` does not, after a position. */
export function eventsBetween(
  tx: Transaction,
  o: { done: string; target: string; afterPos: string; limit: number },
): Promise<PositionedRow[]> {
  const params = [o.done, o.target, o.afterPos, o.limit];
  return runPrepared<PositionedRow>(tx, 'events_between', BETWEEN, params);
}

/** Rows as events in today's shape. */
export function toRecorded<Event extends Tagged>(
  shapes: Readonly<Record<string, Shape>>,
  rows: readonly PositionedRow[],
): RecordedEvent<Event>[] {
  return rows.map(({ stream_id, version, type, schema_version, data, meta, at }) => ({
    streamId: stream_id,
    version,
    at: new Date(at),
    meta,
    event: toEvent<Event>(shapes, { type, schemaVersion: schema_version, data }),
  }));
}
