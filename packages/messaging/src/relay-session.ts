import { openPostgres } from '@sidecart/kit/db-socket';
import type postgres from 'postgres';
import { withDeadline } from './deadline.ts';
import type { StoredHeaders } from './envelope.ts';
import type { Exclusions, OutboxMessage } from './relay-queue.ts';
import { OUTBOX_SLOTS } from './slot.ts';

/** The database is there, and not as the relay needs it. Waiting does not help; the message says what does. */
export class OutboxSetupError extends Error {
  override name = 'OutboxSetupError';
}

export interface OutboxDepth {
  messages: number;
  oldestSeconds: number;
}

/**
 * One connection of the relay to its database and the slots it owns by it. All of it ends together: once `signal` is
 * aborted no slot is owned any more and every call fails.
 */
export interface RelaySession {
  readonly signal: AbortSignal;
  /** Tries to become the owner of the slots that are free; true when some were won. */
  acquire(): Promise<boolean>;
  owned(): number[];
  /** False when the server may have ended this session without our knowing, as after a freeze of this process. */
  isFresh(): boolean;
  /** Rows with an id above the given one per owned slot, at most `limit` of each slot, sorted by id. */
  read(after: ReadonlyMap<number, bigint>, without: Exclusions, limit: number): Promise<OutboxMessage[]>;
  /** Shows the server that the session is alive. */
  ping(): Promise<void>;
  /** Tells the relays of the other replicas that something was committed. */
  announce(): Promise<void>;
  remove(messages: { id: bigint; eventId: string }[]): Promise<void>;
  depth(): Promise<OutboxDepth>;
  /** Gives the slots back by closing the connection. */
  close(): Promise<void>;
}

export interface SessionOptions {
  url: string;
  /** Seen in pg_stat_activity, with `-relay` behind it: tells an operator which replica owns slots. */
  applicationName: string;
  /** How long the server lets this session be silent before it ends it and frees its slots, in ms. */
  idleSessionTimeoutMs: number;
  /** The relay of some replica says that something was committed. */
  onAnnounced: () => void;
}

const CHANNEL = 'sidecart_outbox';
/** Class of the advisory locks that stand for slots. */
const LOCK_CLASS = 7001;
/** After this a statement is taken for lost, and the session with it. */
const STATEMENT_MS = 3000;

/**
 * Opens the connection and checks the outbox.
 *
 * Slots are owned by session advisory locks, so an owner that dies, loses its connection or freezes loses them; and a
 * connection that is lost is never replaced behind the relay's back, as the locks would be gone without its knowing.
 * Statements go out one at a time: postgres.js would send a queued one over a new connection.
 *
 * @throws OutboxSetupError when the outbox is missing or its ids would not be given out in order.
 */
export async function openSession(o: SessionOptions): Promise<RelaySession> {
  const lost = new AbortController();
  const sql = openPostgres(o.url, {
    max: 1,
    connect_timeout: 2,
    idle_timeout: 0,
    max_lifetime: null,
    fetch_types: false,
    onnotice: () => {},
    onclose: () => lose(new Error('The connection of the relay was closed')),
    // Missing in the types; listen() would open a connection of its own, which nobody would watch over.
    ...{ onnotify: () => o.onAnnounced() },
    connection: {
      application_name: `${o.applicationName}-relay`,
      idle_session_timeout: o.idleSessionTimeoutMs,
      statement_timeout: STATEMENT_MS,
      // A queue's statistics are always out of date; with these off the slot's index is used whatever they say.
      enable_seqscan: false,
      enable_bitmapscan: false,
    },
  });
  const slots = new Set<number>();
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let last: Promise<unknown> = Promise.resolve();

  function lose(reason: Error): void {
    if (lost.signal.aborted) return;
    slots.clear();
    lost.abort(reason);
    void sql.end({ timeout: 0 });
  }

  /** Runs one statement after the one before it, with a deadline of our own for a connection that went dead. */
  function run<T>(statement: () => PromiseLike<T>): Promise<T> {
    const result = last.then(async () => {
      lost.signal.throwIfAborted();
      const sentAt = performance.now();
      const answer = await withDeadline(STATEMENT_MS + 1000, statement(), () => {
        const reason = new Error('The database does not answer the relay');
        lose(reason);
        return reason;
      });
      lost.signal.throwIfAborted();
      confirmedAt = sentAt;
      return answer;
    });
    last = result.catch(() => {});
    return result;
  }

  try {
    await run(() => checkOutbox(sql));
    await run(() => sql`LISTEN ${sql(CHANNEL)}`);
  } catch (err) {
    lose(err as Error);
    throw err;
  }

  return {
    signal: lost.signal,
    owned: () => [...slots],
    isFresh: () => !lost.signal.aborted && performance.now() - confirmedAt < o.idleSessionTimeoutMs,

    async acquire() {
      const free = Array.from({ length: OUTBOX_SLOTS }, (_, slot) => slot).filter((slot) => !slots.has(slot));
      if (free.length === 0) return false;
      const rows = await run(
        () => sql<{ slot: number; won: boolean }[]>`
          SELECT slot, pg_try_advisory_lock(${LOCK_CLASS}::int, slot) AS won
          FROM json_to_recordset(${asRows(free.map((slot) => ({ slot })))}::text::json) AS s (slot int)`,
      );
      const won = rows.filter((row) => row.won);
      for (const { slot } of won) slots.add(slot);
      return won.length > 0;
    },

    async read(after, without, limit) {
      const from = [...slots].map((slot) => ({ slot, after: String(after.get(slot) ?? 0) }));
      const rows = await run(
        () => sql<OutboxRecord[]>`
          SELECT o.* FROM json_to_recordset(${asRows(from)}::text::json) AS s (slot smallint, after bigint)
          CROSS JOIN LATERAL (
            SELECT id, slot, topic, msg_key, event_id, key_seq, type, payload, headers FROM outbox
            WHERE slot = s.slot AND id > s.after
              AND topic <> ALL (ARRAY(SELECT json_array_elements_text(${asRows(without.topics)}::text::json)))
              AND NOT EXISTS (
                SELECT FROM json_to_recordset(${asRows(without.keys)}::text::json) AS k (topic text, key text)
                WHERE k.topic = outbox.topic AND k.key = outbox.msg_key)
            ORDER BY id LIMIT ${limit}
          ) o ORDER BY o.id`,
      );
      return rows.map(toMessage);
    },

    async ping() {
      await run(() => sql`SELECT 1`);
    },

    async announce() {
      await run(() => sql`NOTIFY ${sql(CHANNEL)}`);
    },

    async remove(messages) {
      const gone = messages.map(({ id, eventId }) => ({ id: String(id), event_id: eventId }));
      await run(
        () => sql`
          DELETE FROM outbox o
          USING json_to_recordset(${asRows(gone)}::text::json) AS g (id bigint, event_id uuid)
          WHERE o.id = g.id AND o.event_id = g.event_id`,
      );
    },

    async depth() {
      const [row] = await run(
        () => sql<{ messages: number; oldest: number }[]>`
          SELECT (SELECT count(*) FROM outbox)::int AS messages,
            coalesce(extract(epoch FROM clock_timestamp() -
              (SELECT created_at FROM outbox ORDER BY id LIMIT 1)), 0)::float8 AS oldest`,
      );
      return { messages: row?.messages ?? 0, oldestSeconds: Math.max(0, row?.oldest ?? 0) };
    },

    async close() {
      await last;
      lose(new Error('The relay was stopped'));
      await sql.end({ timeout: 1 });
    },
  };
}

interface OutboxRecord {
  id: string;
  slot: number;
  topic: string;
  msg_key: string;
  event_id: string;
  key_seq: string;
  type: string;
  payload: unknown;
  headers: StoredHeaders;
}

function toMessage(row: OutboxRecord): OutboxMessage {
  return {
    id: BigInt(row.id),
    slot: row.slot,
    topic: row.topic,
    msgKey: row.msg_key,
    eventId: row.event_id,
    keySeq: row.key_seq,
    type: row.type,
    payload: row.payload,
    headers: row.headers,
  };
}

/** Sent as text, so that postgres.js does not turn it into JSON a second time. */
function asRows(rows: unknown[]): string {
  return JSON.stringify(rows);
}

/** Ids that a session takes in advance (CACHE > 1) would be used in another order than they were taken. */
async function checkOutbox(sql: postgres.Sql): Promise<void> {
  const [found] = await sql<{ cache: string | null; present: boolean }[]>`
    SELECT to_regclass('outbox') IS NOT NULL AND to_regclass('outbox_sequence') IS NOT NULL AS present,
      (SELECT seqcache FROM pg_sequence WHERE seqincrement > 0 AND seqrelid =
        (CASE WHEN to_regclass('outbox') IS NOT NULL THEN pg_get_serial_sequence('outbox', 'id') END)::regclass
      ) AS cache`;
  if (!found?.present) {
    throw new OutboxSetupError('The tables outbox and outbox_sequence are missing: run the migrations');
  }
  if (found.cache !== '1') {
    throw new OutboxSetupError(
      `The ids of outbox must come from an ascending sequence with CACHE 1, found ${found.cache ?? 'none'}: ` +
        'ALTER TABLE outbox ALTER COLUMN id SET CACHE 1',
    );
  }
}
