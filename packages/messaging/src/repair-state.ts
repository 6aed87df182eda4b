import type { Database } from '@sidecart/kit/db';
import { type SQL, sql } from 'drizzle-orm';
import type { SentIds } from './sent-routes.ts';

/** One of those who send on a topic. */
export interface Edge {
  topic: string;
  sender: string;
}

export interface Cursor {
  since?: string;
  target?: string;
  after?: string;
}

/**
 * True for a time that nobody notes: the clock of the database was set back since. Clocks are set by parts of a second all the time,
 * and a lease is some seconds ahead; neither is meant.
 */
const toCome = (at: SQL) => sql`${at} > clock_timestamp() + interval '2 minutes'`;

/**
 * For so long one replica has an edge to itself; it says so again with each step, and with each message that it hands over. Where it dies,
 * nobody compares for so long. One that takes longer over a step shares the edge with another: what both fetch is handled once.
 */
const LEASE = '15 seconds';

/**
 * Where the comparison stands, for the one replica that is to go on with it; undefined for the others.
 */
export async function takeCursor({ db }: Database, { topic, sender }: Edge): Promise<Cursor | undefined> {
  const [row] = await db.execute<{ since: string | null; target: string | null; after: string | null }>(sql`
    INSERT INTO repair_cursor AS c (topic, sender, lease_until)
    VALUES (${topic}, ${sender}, clock_timestamp() + ${LEASE}::interval)
    ON CONFLICT (topic, sender) DO UPDATE SET lease_until = excluded.lease_until
    WHERE c.lease_until < clock_timestamp() OR ${toCome(sql`c.lease_until`)}
    RETURNING since, target, after`);
  if (!row) return undefined;
  const { since, target, after } = row;
  return {
    ...(since !== null && { since }),
    ...(target !== null && { target }),
    ...(after !== null && { after }),
  };
}

/** Gives the edge back, so that the next round need not wait for the lease. */
export async function releaseCursor({ db }: Database, { topic, sender }: Edge): Promise<void> {
  await db.execute(sql`
    UPDATE repair_cursor SET lease_until = '-infinity'
    WHERE topic = ${topic} AND sender = ${sender}`);
}

/** Looked up one by one. As EXISTS it could become a hash of the whole inbox. */
const inInbox = (topic: string, eventId: SQL) =>
  sql`(SELECT true FROM inbox i WHERE i.topic = ${topic} AND i.event_id = ${eventId}) IS TRUE`;

/**
 * Notes what of a page the inbox has not seen, and how far the comparison has come, together. Returns the cursor for what is next.
 *
 * A message of the page that has come already was sent after all that was noted before, and has overtaken it: the broker has no
 * backlog that would still bring that. The first comparison says nothing of the kind, as it tells what came long ago.
 */
export async function notePage(
  { db }: Database,
  { topic, sender }: Edge,
  cursor: Cursor,
  page: SentIds,
): Promise<Cursor> {
  const next: Cursor =
    page.after === null
      ? { since: page.target }
      : { ...(cursor.since && { since: cursor.since }), target: page.target, after: page.after };
  const ids = page.ids.map(([id, event]) => ({ id, event }));
  await db.transaction(async (tx) => {
    const [{ came } = { came: false }] = await tx.execute<{ came: boolean }>(sql`
      WITH told AS MATERIALIZED (
        SELECT p.id, p.event, ${inInbox(topic, sql`p.event`)} AS came
        FROM json_to_recordset(${JSON.stringify(ids)}::text::json) AS p (id bigint, event text)
      ), noted AS (
        INSERT INTO repair_missing (topic, event_id, sender, sent_id)
        SELECT ${topic}, event, ${sender}, id FROM told WHERE NOT came
        ON CONFLICT DO NOTHING
      )
      SELECT coalesce(bool_or(came), false) AS came FROM told`);
    if (came && cursor.since)
      await tx.execute(
        sql`UPDATE repair_cursor SET passed_at = now() WHERE topic = ${topic} AND sender = ${sender}`,
      );
    await saveCursor(tx, { topic, sender }, next);
  });
  return next;
}

/**
 * Begins the comparison anew, from all that the sender still has. What was noted is forgotten first, as another database has other messages by
 * the same ids: asked for them it would give these for ever, and the noted ones would stay. Those that it has as well are noted again.
 */
export async function resetCursor(database: Database, edge: Edge): Promise<void> {
  const { db } = database;
  const { topic, sender } = edge;
  for (;;) {
    const { count } = await db.execute(sql`
      DELETE FROM repair_missing WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM repair_missing WHERE topic = ${topic} AND sender = ${sender} LIMIT ${STEP}))`);
    if (count === 0) break;
    await keepLease(database, edge);
  }
  await saveCursor(db, edge, {});
}

async function saveCursor(
  db: Pick<Database['db'], 'execute'>,
  { topic, sender }: Edge,
  { since, target, after }: Cursor,
): Promise<void> {
  await db.execute(sql`
    UPDATE repair_cursor SET since = ${since ?? null}, target = ${target ?? null}, after = ${after ?? null},
      lease_until = clock_timestamp() + ${LEASE}::interval
    WHERE topic = ${topic} AND sender = ${sender}`);
}

/** True when `at` is `graceMs` ago, or when nobody knows how long ago it is. */
export const longAgo = (at: SQL, graceMs: number) =>
  sql`(${at} < clock_timestamp() - make_interval(secs => ${graceMs / 1000}) OR ${toCome(at)})`;

export interface Late {
  id: string;
  eventId: string;
  /** A message that was sent later came before it. */
  passed: boolean;
}

/** Rows looked up in the inbox by one statement. */
const STEP = 2000;
/** One look takes no further step after so long, in ms: what came of millions is forgotten over some looks. */
const LOOK_MS = 5000;

/**
 * Forgets those that have come meanwhile, from the oldest on, until it has found `limit` of the others that were noticed `graceMs` ago or
 * earlier, and returns these. What a step costs does not grow with what is noted; that of all of it at once would reach the time
 * that a statement may take, and then it would fail for ever.
 */
export async function overdue(
  { db }: Database,
  { topic, sender }: Edge,
  graceMs: number,
  limit: number,
): Promise<Late[]> {
  const late: Late[] = [];
  const until = performance.now() + LOOK_MS;
  let [at, id] = ['-infinity', '0'];
  for (;;) {
    const rows = await db.execute<{
      id: string;
      event_id: string;
      at: string;
      came: boolean;
      late: boolean;
      passed: boolean;
    }>(sql`
        WITH step AS MATERIALIZED (
          SELECT m.*, ${inInbox(topic, sql`m.event_id`)} AS came
          FROM (
            SELECT ctid AS place, sent_id, event_id, noticed_at FROM repair_missing
            WHERE topic = ${topic} AND sender = ${sender} AND (noticed_at, sent_id) > (${at}::timestamptz, ${id}::bigint)
            ORDER BY noticed_at, sent_id LIMIT ${STEP}
          ) AS m
        ), forgotten AS (
          DELETE FROM repair_missing WHERE ctid = ANY (ARRAY(SELECT place FROM step WHERE came))
        ), passing AS MATERIALIZED (
          SELECT max(passed_at) FILTER (WHERE NOT ${toCome(sql`passed_at`)}) AS at FROM repair_cursor WHERE topic = ${topic}
        )
        SELECT sent_id::text AS id, event_id, noticed_at::text AS at, came, ${longAgo(sql`noticed_at`, graceMs)} AS late,
          coalesce(noticed_at < passing.at, false) OR ${toCome(sql`noticed_at`)} AS passed
        FROM step CROSS JOIN passing ORDER BY noticed_at, sent_id`);
    for (const row of rows)
      if (row.late && !row.came && late.length < limit)
        late.push({ id: row.id, eventId: row.event_id, passed: row.passed });
    const last = rows.at(-1);
    if (!last || rows.length < STEP || late.length >= limit || performance.now() > until) return late;
    [at, id] = [last.at, last.id];
  }
}

/** How many are overdue; counts no further than 100 000, those included that have come since the last look at them. */
export async function countOverdue(
  { db }: Database,
  { topic, sender }: Edge,
  graceMs: number,
): Promise<number> {
  const [row] = await db.execute<{ missing: number }>(sql`
    SELECT count(*)::int AS missing FROM (
      SELECT FROM repair_missing WHERE topic = ${topic} AND sender = ${sender} AND ${longAgo(sql`noticed_at`, graceMs)} LIMIT 100000
    ) AS counted`);
  return row?.missing ?? 0;
}

/** It was fetched and could not be handled: the others come first, and it again after the grace. */
export async function putOff({ db }: Database, topic: string, eventIds: string[]): Promise<void> {
  await db.execute(sql`
    UPDATE repair_missing SET noticed_at = clock_timestamp() WHERE topic = ${topic}
      AND event_id IN (SELECT json_array_elements_text(${JSON.stringify(eventIds)}::text::json))`);
}

/** Keeps the edge for another lease. */
export async function keepLease({ db }: Database, { topic, sender }: Edge): Promise<void> {
  await db.execute(sql`
    UPDATE repair_cursor SET lease_until = clock_timestamp() + ${LEASE}::interval
    WHERE topic = ${topic} AND sender = ${sender}`);
}

/** Numbers that were given up as lost and came after all are no dead letters any more. */
export async function settleLost({ db }: Database): Promise<void> {
  await db.execute(sql`
    WITH came AS (
      UPDATE dead_letter d SET state = 'redriven', resolved_at = clock_timestamp()
      FROM inbox_key k
      WHERE d.state = 'waiting' AND d.reason = 'lost' AND k.topic = d.topic AND k.sender = d.sender
        AND k.msg_key = d.msg_key AND (k.last_seq >= d.key_seq OR EXISTS (
          SELECT FROM inbox_failing f WHERE NOT f.passed AND f.topic = d.topic AND f.sender = d.sender
            AND f.msg_key = d.msg_key AND f.key_seq = d.key_seq))
      RETURNING d.id
    )
    INSERT INTO dead_letter_action (dead_letter_id, actor, action, note) SELECT id, 'repair', 'redrive', 'it came after all' FROM came`);
}

/** There is nothing to wait for: they were dealt with, or their sender has them no more. */
export async function forget({ db }: Database, topic: string, eventIds: string[]): Promise<void> {
  await db.execute(sql`
    DELETE FROM repair_missing WHERE topic = ${topic}
      AND event_id IN (SELECT json_array_elements_text(${JSON.stringify(eventIds)}::text::json))`);
}
