import type { Transaction } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { CONDENSED, type Shape, toEvent } from './aggregate.ts';
import type { Tagged } from './decider.ts';
import type { EventMeta } from './meta.ts';
import type { PlainEvent, RecordedEvent } from './projection.ts';

/** A stored event with all that a reader wants of it. */
export interface PositionedRow extends PlainRow {
  meta: EventMeta;
}

/** The same for a reader that does not want `meta`. */
export interface PlainRow {
  stream_id: string;
  version: number;
  pos: string;
  type: string;
  schema_version: number;
  data: unknown;
  /** Milliseconds of the epoch. */
  at: number;
}

// `at` to the microsecond, as `extract` tells it, which counts in decimal numbers and is a tenth of all work of reading.
const PLAIN = `stream_id, version::float8 AS version, pos::text AS pos, type, schema_version, data,
  round(date_part('epoch', at) * 1000000) / 1000 AS at`;
export const POSITIONED = `${PLAIN}, meta`;
const NO_EVENT = `NULL AS stream_id, NULL::float8 AS version, NULL AS pos, NULL AS type, NULL::int AS schema_version, NULL::jsonb AS data,
    NULL::float8 AS at`;

// Both readers take the difference of two snapshots of the database: what is visible now and was not then. That is exact, whatever
// transactions ran in between and however long; a position "after the last one seen" skips what commits late with a lower number,
// and one by transaction id waits for the oldest transaction of the server (PgQ's method, https://github.com/pgq/pgq).

/**
 * Up to so many of what is visible now and not in a snapshot, in no order, so that of millions no more are touched than are wanted: what
 * began after it, and what was running then. Not what this transaction itself has appended, which is for the next.
 */
const unseen = (columns: string) => `(
    SELECT ${columns} FROM events WHERE xid >= pg_snapshot_xmax($1::text::pg_snapshot) AND xid <> pg_current_xact_id() LIMIT $2::int
  ) UNION ALL (
    SELECT ${columns} FROM events WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot)))
      AND xid <> pg_current_xact_id() LIMIT $2::int
  )`;

// The snapshot is of the same statement as the rows, so no row is between them. Aggregate events are read too: else a position that
// only they are behind would never move on.
export const SINCE = `
  SELECT pg_current_snapshot()::text AS snapshot, pg_current_xact_id()::text AS own,
    ${NO_EVENT}, NULL::jsonb AS meta
  UNION ALL (SELECT NULL, NULL, ${POSITIONED} FROM (${unseen('*')}) AS events ORDER BY events.pos)`;

const FIRST = `SELECT count(*)::int AS count, (min(pos) - 1)::text AS before FROM (${unseen('pos')}) AS events`;

// Not further than a span, so that one statement does not go through all that is done already.
const between = (noEvent: string, columns: string) => `
  SELECT (SELECT max(pos) FROM events)::text AS last, ${noEvent}
  UNION ALL (
    SELECT NULL, ${columns} FROM events
    WHERE events.pos > $3::text::bigint AND events.pos <= $3::text::bigint + $5::int
      AND pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
      AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot) AND type <> '${CONDENSED}'
    ORDER BY events.pos LIMIT $4::int
  )`;
const BETWEEN = between(`${NO_EVENT}, NULL::jsonb AS meta`, POSITIONED);
const BETWEEN_PLAIN = between(NO_EVENT, PLAIN);

/** Positions that one statement looks at, at most. */
const SPAN = 100_000;
/** Events of which the first is looked for. */
const COUNTED = 100_000;

/** What can be seen now. */
export interface Since {
  /** By position, aggregate events among them; undefined: there are more than were asked for. */
  rows: PositionedRow[] | undefined;
  /** A snapshot that sees them and what was done before, and nothing else. */
  now: string;
}

/** What is visible now and not in the snapshot `done`, if it is no more than so much. What `tx` itself has appended is for the next transaction. */
export async function eventsSince(tx: Transaction, done: string, limit: number): Promise<Since> {
  const [head, ...rows] = await byIndex(tx, () =>
    runPrepared<PositionedRow & { snapshot: string; own: string }>(tx, 'events_since', SINCE, [
      done,
      limit + 1,
    ]),
  );
  if (!head) throw new Error('PostgreSQL gave no snapshot');
  return { rows: rows.length > limit ? undefined : rows, now: withoutOwn(head.snapshot, head.own) };
}

/** A position that all that is visible and not in the snapshot `done` is behind. Of very much it is the beginning. */
export async function positionBefore(tx: Transaction, done: string): Promise<string> {
  const [row] = await byIndex(tx, () =>
    runPrepared<{ count: number; before: string | null }>(tx, 'events_first', FIRST, [done, COUNTED + 1]),
  );
  return row && row.count <= COUNTED && row.before !== null ? row.before : '0';
}

/** A part of what the snapshot `target` sees and `done` does not. */
export interface Between {
  rows: PlainRow[];
  /** All up to here are among the rows, or are done; undefined: all there are. */
  upTo: string | undefined;
}

/** The next so many behind a position; `plain`: without `meta`. */
export async function eventsBetween(
  tx: Transaction,
  o: { done: string; target: string; afterPos: string; limit: number; span?: number; plain?: boolean },
): Promise<Between> {
  const span = o.span ?? SPAN;
  const params = [o.done, o.target, o.afterPos, o.limit, span];
  const [name, text] = o.plain ? ['events_between_plain', BETWEEN_PLAIN] : ['events_between', BETWEEN];
  const [head, ...rows] = await byIndex(tx, () =>
    runPrepared<PlainRow & { last: string | null }>(tx, name, text, params),
  );
  const end = BigInt(o.afterPos) + BigInt(span);
  const last = rows.at(-1);
  if (rows.length === o.limit && last) return { rows, upTo: last.pos };
  return { rows, upTo: end < BigInt(head?.last ?? 0) ? String(end) : undefined };
}

/**
 * Has one statement planned by indexes alone, the first row before the last. What is new among the events is at their end, and few; to
 * the planner it is a third of them, and all of them in a database that was adopted.
 */
export async function byIndex<T>(tx: Transaction, read: () => Promise<T>): Promise<T> {
  const scan = (value: 'on' | 'off') =>
    runPrepared(
      tx,
      'scan_tables',
      `SELECT set_config('enable_seqscan', $1::text, true), set_config('enable_bitmapscan', $1::text, true)`,
      [value],
    );
  // In one round trip, and in this order.
  const [, rows] = await Promise.all([scan('off'), read(), scan('on')]);
  return rows;
}

/**
 * The snapshot as it would be seen from another transaction. PostgreSQL does not count the transaction that asks among those that
 * run, and with its number below the end of the snapshot all that it still writes would pass for done.
 */
export function withoutOwn(snapshot: string, own: string): string {
  const [xmin = '', xmax = '', xip = ''] = snapshot.split(':');
  if (BigInt(own) >= BigInt(xmax)) return snapshot;
  const running = [...(xip === '' ? [] : xip.split(',')), own].map(BigInt).sort((a, b) => (a < b ? -1 : 1));
  const first = BigInt(own) < BigInt(xmin) ? own : xmin;
  return `${first}:${xmax}:${running.join()}`;
}

/** Rows as events in today's shape. */
export function toRecorded<Event extends Tagged>(
  shapes: Readonly<Record<string, Shape>>,
  rows: readonly PositionedRow[],
): RecordedEvent<Event>[] {
  return rows.map((row) => ({
    streamId: row.stream_id,
    version: row.version,
    at: new Date(row.at),
    meta: row.meta,
    event: eventOf<Event>(shapes, row),
  }));
}

/** The same without `meta`, also of rows that have it: a read model sees no more on one way than on another. */
export function toPlain<Event extends Tagged>(
  shapes: Readonly<Record<string, Shape>>,
  rows: readonly PlainRow[],
): PlainEvent<Event>[] {
  return rows.map((row) => ({
    streamId: row.stream_id,
    version: row.version,
    at: new Date(row.at),
    event: eventOf<Event>(shapes, row),
  }));
}

function eventOf<Event extends Tagged>(
  shapes: Readonly<Record<string, Shape>>,
  { type, schema_version: schemaVersion, data }: PlainRow,
): Event {
  return toEvent<Event>(shapes, { type, schemaVersion, data });
}
