import { NO_ROWS, openPostgres } from '@sidecart/kit/db-socket';
import type postgres from 'postgres';
import { withDeadline } from './deadline.ts';
import { OUTBOX_SLOTS } from './slot.ts';
import { shareOf, slotsFrom } from './slot-share.ts';

/** Runs one statement after the one before it. */
export type Run = <T>(statement: (sql: postgres.Sql) => PromiseLike<T>) => Promise<T>;

/**
 * One connection to the database and the slots that are owned by it. All of it ends together: once `signal` is aborted no slot
 * is owned any more and every call fails.
 */
export interface SlotSession {
  readonly signal: AbortSignal;
  run: Run;
  /**
   * Becomes the owner of free slots up to this session's share of them; `won` says that there are new ones, `surplus` how
   * many of them others are waiting for.
   */
  share(): Promise<{ won: boolean; surplus: number }>;
  /** Gives slots to whoever wants them. */
  release(slots: readonly number[]): Promise<void>;
  owned(): number[];
  /** False when the server may have ended this session without our knowing, as after a freeze of this process. */
  isFresh(): boolean;
  /** Shows the server that the session is alive. */
  ping(): Promise<void>;
  /** Tells the other sessions of this kind that something was committed. */
  announce(): Promise<void>;
  /** Gives the slots back by closing the connection. */
  close(): Promise<void>;
}

export interface SlotSessionOptions {
  url: string;
  /** Seen in pg_stat_activity: tells an operator which replica owns slots. */
  applicationName: string;
  /** How long the server lets this session be silent before it ends it and frees its slots, in ms. */
  idleSessionTimeoutMs: number;
  /** Some session of this kind says that something was committed. */
  onAnnounced: () => void;
  /** Classes of advisory locks: one lock for each slot that is owned, one for each session. */
  locks: { slot: number; alive: number };
  /** Of NOTIFY. */
  channel: string;
  /** Refuses, by throwing, a database that is not as it must be. */
  check: (run: Run) => Promise<void>;
}

/** After this a statement is taken for lost, and the session with it. */
const STATEMENT_MS = 3000;
const QUERY_CANCELED = '57014';

/**
 * Opens the connection and checks the database.
 *
 * Slots are owned by session advisory locks, so an owner that dies, loses its connection or freezes loses them; and a
 * connection that is lost is never replaced behind its owner's back, as the locks would be gone without its knowing.
 * Statements go out one at a time: postgres.js would send a queued one over a new connection.
 */
export async function openSlotSession(o: SlotSessionOptions): Promise<SlotSession> {
  const lost = new AbortController();
  const sql = openPostgres(o.url, {
    max: 1,
    connect_timeout: 2,
    idle_timeout: 0,
    max_lifetime: null,
    fetch_types: false,
    onnotice: () => {},
    onclose: () => lose(new Error(`The connection of ${o.applicationName} was closed`)),
    // Missing in the types; listen() would open a connection of its own, which nobody would watch over.
    ...{ onnotify: () => o.onAnnounced() },
    connection: {
      application_name: o.applicationName,
      idle_session_timeout: o.idleSessionTimeoutMs,
      statement_timeout: STATEMENT_MS,
      // A queue's statistics are always out of date; with these off the slot's index is used whatever they say. Not `false`:
      // postgres.js leaves out what is false.
      enable_seqscan: 'off',
      enable_bitmapscan: 'off',
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

  /** With a deadline of our own, for a connection that went dead. */
  function run<T>(statement: (sql: postgres.Sql) => PromiseLike<T>): Promise<T> {
    const result = last.then(async () => {
      lost.signal.throwIfAborted();
      const sentAt = performance.now();
      const answer = await withDeadline(STATEMENT_MS + 1000, statement(sql), () => {
        const reason = new Error(`The database does not answer ${o.applicationName}`);
        lose(reason);
        return reason;
      });
      lost.signal.throwIfAborted();
      confirmedAt = sentAt;
      return answer;
    });
    last = result.catch(forgetRows);
    return result;
  }

  async function forgetRows(): Promise<void> {
    const late = () => new Error(`The database does not answer ${o.applicationName}`);
    await withDeadline(STATEMENT_MS + 1000, sql.unsafe(NO_ROWS), late).catch(lose);
  }

  try {
    await o.check(run);
    await run((db) => db`LISTEN ${db(o.channel)}`);
    await run((db) => db`SELECT pg_try_advisory_lock(${o.locks.alive}::int, pg_backend_pid())`);
  } catch (err) {
    lose(err as Error);
    throw err;
  }

  return {
    signal: lost.signal,
    run,
    owned: () => [...slots],
    isFresh: () => !lost.signal.aborted && performance.now() - confirmedAt < o.idleSessionTimeoutMs,

    async share() {
      const [seen] = await run(
        (db) => db<{ alive: number; before: number; taken: number[] }[]>`
          WITH held AS (
            SELECT classid::bigint AS class, objid::bigint AS number, pid FROM pg_locks
            WHERE locktype = 'advisory' AND objsubid = 2 AND granted
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          )
          SELECT (SELECT count(*) FROM held WHERE class = ${o.locks.alive})::int AS alive,
            (SELECT count(*) FROM held WHERE class = ${o.locks.alive} AND pid < pg_backend_pid())::int AS before,
            (SELECT coalesce(json_agg(number), '[]') FROM held WHERE class = ${o.locks.slot}) AS taken`,
      );
      const { alive = 1, before = 0, taken = [] } = seen ?? {};
      const share = shareOf(alive, before);
      const free = slotsFrom(alive, before).filter((slot) => !slots.has(slot) && !taken.includes(slot));
      const wanted = free.slice(0, Math.max(0, share - slots.size)).map((slot) => ({ slot }));
      if (wanted.length === 0) return { won: false, surplus: Math.max(0, slots.size - share) };
      const rows = await run(
        (db) => db<{ slot: number; won: boolean }[]>`
          SELECT slot, pg_try_advisory_lock(${o.locks.slot}::int, slot) AS won
          FROM json_to_recordset(${asJson(wanted)}::text::json) AS s (slot int)`,
      );
      const won = rows.filter((row) => row.won);
      for (const { slot } of won) slots.add(slot);
      return { won: won.length > 0, surplus: 0 };
    },

    async release(given) {
      for (const slot of given) slots.delete(slot);
      await run(
        (db) => db`
          SELECT pg_advisory_unlock(${o.locks.slot}::int, slot)
          FROM json_to_recordset(${asJson(given.map((slot) => ({ slot })))}::text::json) AS s (slot int)`,
      );
    },

    async ping() {
      await run((db) => db`SELECT 1`);
    },

    async announce() {
      if (slots.size < OUTBOX_SLOTS) await run((db) => db`NOTIFY ${db(o.channel)}`);
    },

    async close() {
      await last;
      lose(new Error(`${o.applicationName} was stopped`));
      await sql.end({ timeout: 1 });
    },
  };
}

/**
 * Asks about all these slots (or keys) in one statement, and about one after the other when that takes longer than a statement may: in front of
 * the first row of a slot there may be a great many that were deleted and are not vacuumed.
 */
export async function askOfSlots<S, T>(
  slots: readonly S[],
  ask: (slots: readonly S[]) => Promise<readonly T[]>,
): Promise<T[]> {
  try {
    return [...(await ask(slots))];
  } catch (err) {
    if (!isCanceled(err) || slots.length === 1) throw err;
  }
  const answers: T[] = [];
  for (const slot of slots) answers.push(...(await ask([slot])));
  return answers;
}

/** The statement took longer than it may. */
export function isCanceled(err: unknown): boolean {
  return (err as { code?: string }).code === QUERY_CANCELED;
}

/** As text, so that postgres.js does not turn it into JSON a second time. */
export function asJson(rows: unknown): string {
  return JSON.stringify(rows);
}

/** As text, too: an array of PostgreSQL, of what needs no quotes. */
export function asArray(values: Iterable<bigint | number | string>): string {
  return `{${[...values].join()}}`;
}
