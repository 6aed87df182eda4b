import type { Database } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import { createDelayedReport, type Look } from './delayed-report.ts';
import { rootMessage } from './failures.ts';
import type { Handler } from './handler.ts';
import { LOCKS } from './lock-classes.ts';
import { RELEASE_STATEMENT } from './outbox-insert.ts';
import { slotOf } from './slot.ts';
import { createWake } from './wake.ts';

export interface DelayedOptions {
  database: Database;
  log: Logger;
  metrics: Metrics;
  health: Health;
  /** This service's local handlers, by type: a message for one that wants no order is given no number. Default none. */
  handlers?: Readonly<Record<string, Pick<Handler, 'ordered'>>>;
  /** Messages were moved: their relay and worker can look at once. */
  onReleased?: () => void;
  /** How often it is looked for messages that another process wrote, in ms; default 500. */
  pollMs?: number;
}

export interface DelayedRelease extends Worker {
  /** Something may have been committed that is due before the next look. */
  nudge(): void;
}

/** Messages moved in one transaction at most. */
const LIMIT = 200;
/** How often one transaction looks past keys that are held, before it leaves the rest to the next one. */
const LOOKS = 10;
/** And one by one, each with so long for its lock, in ms. */
const SINGLY = 20;
const SINGLY_MS = 100;
/** What the server calls it when that is over. */
const LOCK_TIMEOUT = '55P03';
/** When what is due could not be moved, in ms. */
const AGAIN_MS = 100;
/** Two looks are at least so far apart, in ms, however often somebody says that there may be something. */
const APART_MS = 20;

/**
 * A look passes all that was moved and that some transaction of the server could still see, which is much behind one that is open for minutes.
 * So most looks begin so long before now. What is older, because it was committed late or is of a time long past, is found by one from the
 * start; until then what is behind it in the order of its key waits.
 */
const RECENT_MS = 5000;
const RECENT = `${RECENT_MS} milliseconds`;
/** The looks from the start are so far apart, in ms, or so many times the length of the last, but no further than the last figure. */
const SWEEP = { ms: 1000, share: 20, atMostMs: 3000 };

/** The parameter is {@link RECENT} or null. */
const since = (parameter: string) =>
  `due_at > coalesce(statement_timestamp() - ${parameter}::interval, '-infinity')`;
/**
 * Rows `now` of outbox_delayed: due, and nothing of their key is due that such a look does not see. That is looked up key by key: as EXISTS it
 * could become a hash of all that is due, and by the index of the time it would pass all that was moved. In the order of the time, or PostgreSQL, which
 * plans this without the values, would go through the table for the first that it meets: for each row of the look, through all there is of its key.
 */
const isDue = (parameter: string) => `
  now.due_at <= statement_timestamp() AND now.${since(parameter)} AND (${parameter}::interval IS NULL OR (
    SELECT true FROM outbox_delayed older WHERE older.msg_key = now.msg_key AND older.topic = now.topic
      AND older.due_at <= statement_timestamp() - ${parameter}::interval ORDER BY older.due_at LIMIT 1) IS NULL)`;

/**
 * What is due, in that order, and whether its key's counter is free: a transaction that holds one would hold up all the others as well,
 * and is waited for outside. $1 are the keys that are known to be held, $2 is {@link RECENT} or null. One process at a time; another one
 * would find the same rows, and wait for nothing.
 */
const DUE = `
  WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(${LOCKS.release}, 0) AS mine),
  due AS MATERIALIZED (
    SELECT d.id, d.due_at, d.topic, d.msg_key FROM turn CROSS JOIN LATERAL (
      SELECT * FROM outbox_delayed now
      WHERE turn.mine AND ${isDue('$2')} AND (topic, msg_key) NOT IN (
        SELECT topic, msg_key FROM json_to_recordset($1::text::json) AS held (topic text, msg_key text))
      ORDER BY due_at, id LIMIT ${LIMIT}
    ) d
  ), free AS MATERIALIZED (
    SELECT topic, msg_key FROM outbox_sequence
    WHERE (topic, msg_key) IN (SELECT topic, msg_key FROM due) ORDER BY topic, msg_key FOR UPDATE SKIP LOCKED
  )
  SELECT id, topic, msg_key, ((topic, msg_key) IN (SELECT topic, msg_key FROM free)
    OR NOT EXISTS (SELECT FROM outbox_sequence s WHERE s.topic = due.topic AND s.msg_key = due.msg_key)) AS free
  FROM due ORDER BY due_at, id`;

const NEXT = `
  SELECT extract(epoch FROM due_at - statement_timestamp())::float8 * 1000 AS ms FROM outbox_delayed
  WHERE ${since('$1')} ORDER BY due_at LIMIT 1`;

/**
 * Moves delayed messages to the outbox when they are due, by the database's clock. The move is one transaction, so a message is in
 * one place or the other, and it is there that it gets its number: it is in the order of its release.
 */
export function createDelayedRelease(o: DelayedOptions): DelayedRelease {
  const report = createDelayedReport(o);
  const pollMs = o.pollMs ?? 500;
  const unordered = JSON.stringify(
    Object.entries(o.handlers ?? {}).flatMap(([type, { ordered }]) => (ordered ? [] : [type])),
  );
  const wake = createWake();
  let stopped = false;
  /** Looks whose next move is one by one, because the last one failed. */
  const singly = new Set<Look>();
  let sweepAt = 0;
  /** How long the first one was due that only a look from the start sees, in ms. */
  let longDueMs = 0;
  let ended: Promise<void> = Promise.resolve();

  /** Moves what is due; returns when to look again, in ms. */
  async function round(look: Look): Promise<number> {
    const askedAt = performance.now();
    const sweeps = look === 'from the start';
    const from = sweeps ? null : RECENT;
    const [next] = await o.database.sql.unsafe<{ ms: number }[]>(NEXT, [from]);
    const ms = next?.ms ?? Number.POSITIVE_INFINITY;
    const now = performance.now();
    const apart = SWEEP.share * (now - askedAt);
    if (sweeps) {
      longDueMs = ms <= -RECENT_MS ? -ms : 0;
      sweepAt = now + Math.min(Math.max(SWEEP.ms, apart), SWEEP.atMostMs);
    }
    report.overdue(Math.max(0, -ms, longDueMs) / 1000);
    if (ms > 0) {
      worked(look);
      return Math.min(pollMs, Math.ceil(ms), longDueMs > 0 ? Math.max(1, sweepAt - now) : pollMs);
    }
    const oneByOne = singly.has(look);
    const { moved, failure } = await (oneByOne ? releaseSingly : releaseDue)(o.database, unordered, from);
    if (moved === 0 && failure) throw failure;
    if (failure) failed(look, failure);
    // Those that were moved one by one, by chance, say nothing of the others: the next move is of all together.
    else if (oneByOne) singly.delete(look);
    else if (moved > 0) worked(look);
    if (moved === 0) return AGAIN_MS;
    // There may be more that only such a look sees.
    if (sweeps && longDueMs > 0) sweepAt = now + Math.min(apart, SWEEP.atMostMs);
    o.onReleased?.();
    return 0;
  }

  function failed(look: Look, err: unknown): void {
    singly.add(look);
    report.failed(look, err);
  }

  function worked(look: Look): void {
    singly.delete(look);
    report.worked(look);
  }

  async function run(): Promise<void> {
    while (!stopped) {
      let again = pollMs;
      const began = performance.now();
      const earliest = began + APART_MS;
      const look = began >= sweepAt ? 'from the start' : 'at the latest';
      const oneByOne = singly.has(look);
      try {
        again = await round(look);
      } catch (err) {
        failed(look, err);
        // Should it take longer than a statement may, what is due now can be moved all the same. Where all together were refused, some one
        // by one may be taken, and should not wait for that.
        const apart = Math.max(oneByOne ? SWEEP.ms : 0, SWEEP.share * (performance.now() - began));
        if (look === 'from the start') sweepAt = performance.now() + Math.min(apart, SWEEP.atMostMs);
      }
      if (again === 0) continue;
      await wake.sleep(again);
      while (!stopped && performance.now() < earliest) await wake.sleep(earliest - performance.now());
    }
  }

  return {
    name: 'delayed-release',
    nudge: wake.up,
    start() {
      ended = run();
    },
    async stop() {
      stopped = true;
      wake.up();
      await ended;
    },
  };
}

/** What came of a move: how many messages, and why others were not moved, when that is more than waiting. */
interface Released {
  moved: number;
  failure?: Error;
}

/**
 * After a failure: the first message of each key for itself, by chance, so that one whose counter another transaction is just making (no look
 * shows that before its commit), or one that the database refuses, does not hold up the others.
 */
async function releaseSingly({ sql }: Database, unordered: string, from: string | null): Promise<Released> {
  const due = await sql.unsafe<{ id: string; topic: string; msg_key: string }[]>(
    `SELECT id, topic, msg_key FROM (
      SELECT DISTINCT ON (topic, msg_key) id, topic, msg_key FROM outbox_delayed now WHERE ${isDue('$1')}
      ORDER BY topic, msg_key, due_at, id
    ) first_of_key ORDER BY random() LIMIT ${SINGLY}`,
    [from],
  );
  let moved = 0;
  let failure: Error | undefined;
  for (const { id, topic, msg_key } of due) {
    const move = JSON.stringify([{ id, slot: slotOf(msg_key) }]);
    await sql
      .begin(async (tx) => {
        await tx.unsafe(`SET LOCAL lock_timeout = ${SINGLY_MS}`);
        await tx.unsafe(RELEASE_STATEMENT, [move, unordered]);
      })
      .then(
        () => {
          moved += 1;
        },
        // It is tried again. One whose counter is held only waits.
        (err: { code?: string }) => {
          if (err.code === LOCK_TIMEOUT) return;
          failure ??= new Error(`${topic} ${msg_key}: ${rootMessage(err)}`);
        },
      );
  }
  return { moved, ...(failure && { failure }) };
}

/**
 * One transaction. A key with more due messages than one look takes must not hide the others while its counter
 * is held, so the next look leaves it out; with all of its messages, or later ones would be moved before earlier ones.
 */
async function releaseDue({ sql }: Database, unordered: string, from: string | null): Promise<Released> {
  const moved = await sql.begin(async (tx) => {
    const held: { topic: string; msg_key: string }[] = [];
    for (let looks = 0; looks < LOOKS; looks += 1) {
      const due = await tx.unsafe<{ id: string; topic: string; msg_key: string; free: boolean }[]>(DUE, [
        JSON.stringify(held),
        from,
      ]);
      const moves = due.filter(({ free }) => free).map(({ id, msg_key }) => ({ id, slot: slotOf(msg_key) }));
      if (moves.length > 0) {
        await tx.unsafe(RELEASE_STATEMENT, [JSON.stringify(moves), unordered]);
        return moves.length;
      }
      if (due.length < LIMIT) return 0;
      held.push(...due.map(({ topic, msg_key }) => ({ topic, msg_key })));
    }
    return 0;
  });
  return { moved };
}
