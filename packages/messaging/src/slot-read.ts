import type postgres from 'postgres';
import type { StoredHeaders } from './envelope.ts';
import type { Queue } from './floors.ts';
import { SELF } from './outbox-insert.ts';
import type { OutboxMessage } from './relay-queue.ts';
import { asJson, askOfSlots, type Run } from './slot-session.ts';

/** In one read of a slot no further row is taken when there are so many, or when they have so many bytes; one row in any case. */
export interface ReadLimit {
  rows: number;
  bytes: number;
}

/** What one read found in a slot. */
export interface SlotPart {
  /** Sorted by id. */
  rows: OutboxMessage[];
  /** The slot was read up to this id, over rows that were left out too. */
  to: bigint;
  /** There may be more. */
  more: boolean;
  /** The read ended because it had passed so many rows, whether they were taken or left out. */
  inSteps: boolean;
}

/** A read of one slot looks at so many rows at most, for a few ms: a million may be left out, and every other slot would wait. */
export const STEP = 2000;

/** Where to read. Whatever else it has is for the condition, as a column of `s`. */
export interface Place {
  slot: number;
  after: bigint;
}

export interface ReadOptions {
  queue: Queue;
  /** Which columns a message has beside those of both queues. */
  columns?: (sql: postgres.Sql) => postgres.PendingQuery<postgres.Row[]>;
  /** Columns of `s`, the place, as they are declared. */
  place?: (sql: postgres.Sql) => postgres.PendingQuery<postgres.Row[]>;
  /** Which rows are taken; the others are left out. */
  takes: (sql: postgres.Sql) => postgres.PendingQuery<postgres.Row[]>;
  /**
   * Whether any may be left out, as a value or a condition of SQL. Only then it is looked how far the read has come, which passes once more
   * what was deleted.
   */
  leavesOut: (sql: postgres.Sql) => postgres.PendingQuery<postgres.Row[]> | boolean;
}

/** Reads on from each of these places, in one statement; one part for each. */
export async function readParts<P extends Place>(
  run: Run,
  places: readonly P[],
  limit: ReadLimit,
  o: ReadOptions,
): Promise<SlotPart[]> {
  const asked = places.map((place, n) => ({ ...place, n, after: String(place.after) }));
  const records = await run((sql) => {
    const nothing = sql``;
    return sql<FoundRecord[]>`
      WITH s AS MATERIALIZED (
        SELECT * FROM json_to_recordset(${asJson(asked)}::text::json)
          AS s (n int, slot smallint, after bigint ${o.place?.(sql) ?? nothing})
      ), taken AS MATERIALIZED (
        SELECT s.n, counted.* FROM s CROSS JOIN LATERAL (
          SELECT fit.*, sum(bytes) OVER (ORDER BY id) - bytes AS before FROM (
            SELECT id, q.slot, msg_key, event_id, key_seq, type, payload, headers,
              octet_length(payload::text) + octet_length(headers::text) AS bytes ${o.columns?.(sql) ?? nothing}
            FROM (SELECT * FROM ${sql(o.queue)} t WHERE t.slot = s.slot AND t.id > s.after ORDER BY t.id LIMIT ${STEP}) AS q
            WHERE ${o.takes(sql)}
            ORDER BY id LIMIT ${limit.rows}
          ) AS fit
        ) AS counted WHERE before < ${limit.bytes}
      ), passed AS MATERIALIZED ( -- a CTE, or it is looked once more for each row that was taken
        SELECT s.n, looked.* FROM s
        LEFT JOIN (SELECT n, count(*) AS rows FROM taken GROUP BY n) AS found ON found.n = s.n
        CROSS JOIN LATERAL (
          SELECT count(*)::int AS looked, max(id)::text AS last FROM (
            SELECT t.id FROM ${sql(o.queue)} t
            WHERE ${o.leavesOut(sql)} AND coalesce(found.rows, 0) < ${limit.rows} AND t.slot = s.slot AND t.id > s.after
            ORDER BY t.id LIMIT ${STEP}
          ) AS looked
        ) AS looked
      )
      SELECT passed.n AS place, looked, last, taken.* FROM passed
      LEFT JOIN taken ON taken.n = passed.n
      WHERE taken.id IS NOT NULL OR looked > 0
      ORDER BY passed.n, taken.id`;
  });
  const byPlace = Map.groupBy(records, ({ place }) => place);
  return places.map((place, n) => partOf(place, byPlace.get(n) ?? [], limit));
}

/** Reads on behind the given id of each slot; slot by slot where all at once takes too long, see {@link askOfSlots}. */
export async function readBySlot(
  run: Run,
  after: ReadonlyMap<number, bigint>,
  limit: ReadLimit,
  o: ReadOptions,
): Promise<Map<number, SlotPart>> {
  const parts = await askOfSlots([...after.keys()], async (slots) => {
    const places = slots.map((slot) => ({ slot, after: after.get(slot) ?? 0n }));
    const found = await readParts(run, places, limit, o);
    return slots.map((slot, n) => [slot, found[n] as SlotPart] as const);
  });
  return new Map(parts);
}

function partOf(place: Place, records: FoundRecord[], limit: ReadLimit): SlotPart {
  const rows = records.flatMap((record) => (record.id === null ? [] : [toStored(record)]));
  const bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
  const isFull = rows.length >= limit.rows || bytes >= limit.bytes;
  const [first] = records;
  const inSteps = !isFull && (first?.looked ?? 0) >= STEP;
  const to = isFull ? undefined : first?.last;
  return { rows, to: BigInt(to ?? rows.at(-1)?.id ?? place.after), more: isFull || inSteps, inSteps };
}

/** A place, and one of the rows taken there, if any was. */
type FoundRecord = { place: number; looked: number; last: string | null } & (SlotRecord | { id: null });

interface SlotRecord {
  id: string;
  slot: number;
  /** The table of messages to oneself has no such column. */
  topic?: string;
  msg_key: string;
  event_id: string;
  key_seq: string;
  type: string;
  payload: unknown;
  headers: StoredHeaders;
  bytes: number;
}

function toStored(row: SlotRecord): OutboxMessage {
  return {
    id: BigInt(row.id),
    slot: row.slot,
    topic: row.topic ?? SELF,
    msgKey: row.msg_key,
    eventId: row.event_id,
    keySeq: row.key_seq,
    type: row.type,
    payload: row.payload,
    headers: row.headers,
    bytes: row.bytes,
  };
}
