import type postgres from 'postgres';
import type { Queue } from './floors.ts';
import { LOCKS } from './lock-classes.ts';
import { checkOutbox } from './outbox-check.ts';
import type { Exclusions, OutboxMessage } from './relay-queue.ts';
import { type ReadLimit, readBySlot, readParts, type SlotPart } from './slot-read.ts';
import { asArray, asJson, askOfSlots, openSlotSession, type SlotSession } from './slot-session.ts';

/** A key of which more is in the table than in memory, to be read on behind an id. */
export interface KeyPlace {
  topic: string;
  key: string;
  slot: number;
  after: bigint;
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
  /** What comes behind the given id of each slot. */
  read(
    after: ReadonlyMap<number, bigint>,
    without: Exclusions,
    limit: ReadLimit,
  ): Promise<Map<number, SlotPart>>;
  /** What comes of each of these keys, and of no other. */
  readKeys(places: readonly KeyPlace[], limit: ReadLimit): Promise<SlotPart[]>;
  /** Moves what the broker has acknowledged from the outbox to what was sent. */
  remove(messages: Pick<OutboxMessage, 'slot' | 'id' | 'eventId'>[]): Promise<void>;
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

    read: (after, without, limit) =>
      readBySlot(session.run, after, limit, {
        queue: 'outbox',
        columns: topicToo,
        leavesOut: () => without.keys.length > 0 || without.topics.length > 0,
        takes: (sql) => takesOthersThan(sql, without),
      }),

    readKeys: (places, limit) =>
      askOfSlots(places, (some) =>
        readParts(session.run, some, limit, {
          queue: 'outbox',
          columns: topicToo,
          place: (sql) => sql`, topic text, key text`,
          takes: (sql) => sql`q.topic = s.topic AND q.msg_key = s.key`,
          leavesOut: () => true,
        }),
      ),

    async remove(messages) {
      const gone = {
        slots: asArray(new Set(messages.map(({ slot }) => slot))),
        ids: asArray(messages.map(({ id }) => id)),
        eventIds: asArray(messages.map(({ eventId }) => eventId)),
      };
      const move = () => session.run((sql) => moveToSent(sql, gone));
      // A part of `sent` for the day was made in this very moment: the row is meant for it, and the second try finds it.
      await move().catch((err: { code?: string }) => (err.code === '23514' ? move() : Promise.reject(err)));
    },

    depth: (floorOf) =>
      askOfSlots(session.owned(), (slots) => session.run((sql) => depthOf(sql, 'outbox', slots, floorOf))),
  };
}

/**
 * One text for both, and by NOT IN: PostgreSQL looks such up in a hash table, and goes through pairs, or an array, one by one. Beside 20,000 keys
 * a read of 2,000 rows took 0.7 s instead of 0.02.
 */
export function takesOthersThan(sql: postgres.Sql, { topics, keys }: Exclusions) {
  const names = keys.map(({ topic, key }) => `${topic} ${key}`);
  return sql`
    topic NOT IN (SELECT json_array_elements_text(${asJson(topics)}::text::json))
    AND topic || ' ' || msg_key NOT IN (SELECT json_array_elements_text(${asJson(names)}::text::json))`;
}

/**
 * One statement: a row is in the outbox or in `sent`, whatever happens. Another relay that deletes it too finds nothing. By arrays and not by
 * a join, whose plan, made while the queue was empty, reads all of a long one. The index has no event id: that is looked up in a hash table for
 * each row, by a subquery that IS TRUE keeps from becoming a join. An array would be made from its text anew for each row (1500 rows: 2 s instead of 0.04).
 */
function moveToSent(sql: postgres.Sql, gone: Gone) {
  return sql`
    WITH gone AS (
      DELETE FROM outbox
      WHERE slot = ANY (${gone.slots}::text::smallint[]) AND id = ANY (${gone.ids}::text::bigint[])
        AND (event_id IN (SELECT unnest(${gone.eventIds}::text::uuid[]))) IS TRUE
      RETURNING id, topic, msg_key, event_id, key_seq, type, payload, headers
    )
    INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers)
    SELECT id, topic, msg_key, event_id, key_seq, type, payload, headers FROM gone`;
}

/** As arrays of PostgreSQL. */
interface Gone {
  slots: string;
  ids: string;
  eventIds: string;
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

const topicToo = (sql: postgres.Sql) => sql`, q.topic`;
