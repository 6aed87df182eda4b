import type postgres from 'postgres';
import type { StoredHeaders } from './envelope.ts';
import type { Queue } from './floors.ts';
import { LOCKS } from './lock-classes.ts';
import { checkOutbox } from './outbox-check.ts';
import type { Exclusions, OutboxMessage } from './relay-queue.ts';
import { asJson, askOfSlots, openSlotSession, type SlotSession } from './slot-session.ts';

/** Of one slot in one read: no further row when there are so many, or when they have so many bytes; one row in any case. */
export interface ReadLimit {
  rows: number;
  bytes: number;
}

/** What a read found. */
export interface SlotRows {
  /** Those of a slot sorted by id. */
  rows: OutboxMessage[];
  /** Slots of which there may be more. */
  more: ReadonlySet<number>;
}

/** Of one slot no more are counted. */
const COUNTED = 10_000;

/** What waits in one slot. */
export interface SlotDepth {
  slot: number;
  /** Counted up to {@link COUNTED}. */
  messages: number;
  oldestSeconds: number;
}

/** The connection of a relay, and what it asks the outbox. */
export interface RelaySession extends SlotSession {
  /** Rows with an id above the given one per slot, of each slot so many as {@link ReadLimit} lets. */
  read(after: ReadonlyMap<number, bigint>, without: Exclusions, limit: ReadLimit): Promise<SlotRows>;
  /** Moves what the broker has acknowledged from the outbox to what was sent. */
  remove(messages: { id: bigint; eventId: string }[]): Promise<void>;
  /** Of the slots owned; `floorOf` as in `Floors`. */
  depth(floorOf: (slot: number) => bigint): Promise<SlotDepth[]>;
}

export interface SessionOptions {
  url: string;
  /** Seen in pg_stat_activity, with `-relay` behind it. */
  applicationName: string;
  idleSessionTimeoutMs: number;
  onAnnounced: () => void;
}

/**
 * Opens the connection and checks the outbox.
 *
 * @throws OutboxSetupError when the outbox is missing, its ids would not be given out in order, or its rows were written for
 * another number of slots.
 */
export async function openSession(o: SessionOptions): Promise<RelaySession> {
  const session = await openSlotSession({
    ...o,
    applicationName: `${o.applicationName}-relay`,
    locks: { slot: LOCKS.relaySlot, alive: LOCKS.relayAlive },
    channel: 'sidecart_outbox',
    check: checkOutbox,
  });
  return {
    ...session,

    async read(after, without, limit) {
      const from = (slots: readonly number[]) =>
        slots.map((slot) => ({ slot, after: String(after.get(slot)) }));
      // One text for both, because PostgreSQL looks such up in a hash table, and goes through pairs one by one.
      const keys = without.keys.map(({ topic, key }) => `${topic} ${key}`);
      const rows = await askOfSlots([...after.keys()], (slots) =>
        session.run(
          (sql) => sql<OutboxRecord[]>`
          SELECT * FROM json_to_recordset(${asJson(from(slots))}::text::json) AS s (slot smallint, after bigint)
          CROSS JOIN LATERAL (SELECT o.*, sum(bytes) OVER (ORDER BY id) - bytes AS before FROM (
            SELECT id, outbox.slot, topic, msg_key, event_id, key_seq, type, payload, headers,
              octet_length(payload::text) + octet_length(headers::text) AS bytes
            FROM outbox
            WHERE slot = s.slot AND id > s.after
              AND topic <> ALL (ARRAY(SELECT json_array_elements_text(${asJson(without.topics)}::text::json)))
              AND topic || ' ' || msg_key <> ALL (ARRAY(SELECT json_array_elements_text(${asJson(keys)}::text::json)))
            ORDER BY id LIMIT ${limit.rows}
          ) AS o) AS counted WHERE before < ${limit.bytes} ORDER BY id`,
        ),
      );
      return slotRows(
        rows.map((row) => ({ ...toStored(row), topic: row.topic })),
        limit,
      );
    },

    async remove(messages) {
      const gone = messages.map(({ id, eventId }) => ({ id: String(id), event_id: eventId }));
      const move = () => session.run((sql) => moveToSent(sql, asJson(gone)));
      // A part of `sent` for the day was made in this very moment: the row is meant for it, and the second try finds it.
      await move().catch((err: { code?: string }) => (err.code === '23514' ? move() : Promise.reject(err)));
    },

    depth: (floorOf) =>
      askOfSlots(session.owned(), (slots) => session.run((sql) => depthOf(sql, 'outbox', slots, floorOf))),
  };
}

/** One statement: a row is in the outbox or in `sent`, whatever happens. Another relay that deletes it too finds nothing. */
function moveToSent(sql: postgres.Sql, gone: string) {
  return sql`
    WITH gone AS (
      DELETE FROM outbox o USING json_to_recordset(${gone}::text::json) AS g (id bigint, event_id uuid)
      WHERE o.id = g.id AND o.event_id = g.event_id
      RETURNING o.id, o.topic, o.msg_key, o.event_id, o.key_seq, o.type, o.payload, o.headers
    )
    INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers)
    SELECT id, topic, msg_key, event_id, key_seq, type, payload, headers FROM gone`;
}

/** A count of millions would hold up the queue that it measures. */
export async function depthOf(
  sql: postgres.Sql,
  queue: Queue,
  slots: readonly number[],
  floorOf: (slot: number) => bigint,
): Promise<SlotDepth[]> {
  const from = slots.map((slot) => ({ slot, floor: String(floorOf(slot)) }));
  const rows = await sql<{ slot: number; messages: number; oldest: number }[]>`
    SELECT s.slot,
      (SELECT count(*) FROM (
        SELECT FROM ${sql(queue)} t WHERE t.slot = s.slot AND t.id > s.floor LIMIT ${COUNTED}) AS counted)::int AS messages,
      coalesce(extract(epoch FROM clock_timestamp() - (
        SELECT created_at FROM ${sql(queue)} t WHERE t.slot = s.slot AND t.id > s.floor ORDER BY id LIMIT 1)), 0)::float8 AS oldest
    FROM json_to_recordset(${asJson(from)}::text::json) AS s (slot smallint, floor bigint)`;
  return rows.map(({ slot, messages, oldest }) => ({ slot, messages, oldestSeconds: Math.max(0, oldest) }));
}

/** The columns that outbox and outbox_local share, as they are read. */
export interface SlotRecord {
  id: string;
  slot: number;
  msg_key: string;
  event_id: string;
  key_seq: string;
  type: string;
  payload: unknown;
  headers: StoredHeaders;
  bytes: number;
}

export function slotRows(rows: OutboxMessage[], limit: ReadLimit): SlotRows {
  const found = new Map<number, ReadLimit>();
  for (const { slot, bytes } of rows) {
    const sum = found.get(slot) ?? { rows: 0, bytes: 0 };
    found.set(slot, { rows: sum.rows + 1, bytes: sum.bytes + bytes });
  }
  const full = [...found].filter(([, sum]) => sum.rows >= limit.rows || sum.bytes >= limit.bytes);
  return { rows, more: new Set(full.map(([slot]) => slot)) };
}

type OutboxRecord = SlotRecord & { topic: string };

export function toStored(row: SlotRecord): Omit<OutboxMessage, 'topic'> {
  return {
    id: BigInt(row.id),
    slot: row.slot,
    msgKey: row.msg_key,
    eventId: row.event_id,
    keySeq: row.key_seq,
    type: row.type,
    payload: row.payload,
    headers: row.headers,
    bytes: row.bytes,
  };
}
