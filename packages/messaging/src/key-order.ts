import type { Executor, Transaction } from '@sidecart/kit/db';
import { sql } from 'drizzle-orm';
import { PermanentError } from './failures.ts';
import { runPrepared } from './prepared.ts';

/** One message's place in the order of its sender, topic and key. */
export interface Place {
  topic: string;
  sender: string;
  key: string;
  /** 1, 2, 3 without gaps. */
  seq: bigint;
}

export interface KeyState {
  /** All up to this number have been dealt with. */
  last: bigint;
  /** Later ones that are kept in inbox_parked. */
  waiting: number;
}

/** A message of a key that was kept because one before it was missing. */
export interface Parked {
  eventId: string;
  /** Null for one that needed no order: dealt with, and only to be passed. */
  body: Uint8Array | null;
  headers: Record<string, string>;
}

const ofKey = ({ topic, sender, key }: Omit<Place, 'seq'>) =>
  sql`topic = ${topic} AND sender = ${sender} AND msg_key = ${key}`;

const ADVANCE = `
  WITH moved AS (
    UPDATE inbox_key SET last_seq = $4::bigint
    WHERE topic = $1::text AND sender = $2::text AND msg_key = $3::text AND last_seq = $4::bigint - 1 RETURNING waiting
  ), begun AS (
    INSERT INTO inbox_key (topic, sender, msg_key, last_seq)
    SELECT $1::text, $2::text, $3::text, 1 WHERE $4::bigint = 1 AND NOT EXISTS (SELECT FROM moved)
    ON CONFLICT DO NOTHING RETURNING waiting
  )
  SELECT waiting FROM moved UNION ALL SELECT waiting FROM begun`;

/**
 * Passes the key on to this message when it is the next one, and says how many wait behind it; undefined when it is not the
 * next, or another replica was first. One statement, so that the usual case costs one round trip; it keeps the key locked.
 */
export async function advance(tx: Transaction, place: Place): Promise<KeyState | undefined> {
  const { topic, sender, key, seq } = place;
  const params = [topic, sender, key, String(seq)];
  const [row] = await runPrepared<{ waiting: number }>(tx, 'inbox_key_advance', ADVANCE, params);
  return row && { last: seq, waiting: row.waiting };
}

/** Locks the key until the transaction ends. */
export async function lockKey(tx: Transaction, place: Omit<Place, 'seq'>): Promise<KeyState> {
  const { topic, sender, key } = place;
  await tx.execute(
    sql`INSERT INTO inbox_key (topic, sender, msg_key, last_seq) VALUES (${topic}, ${sender}, ${key}, 0)
      ON CONFLICT DO NOTHING`,
  );
  const [row] = await tx.execute<{ last: string; waiting: number }>(
    sql`SELECT last_seq::text AS last, waiting FROM inbox_key WHERE ${ofKey(place)} FOR UPDATE`,
  );
  return { last: BigInt(row?.last ?? 0), waiting: row?.waiting ?? 0 };
}

/** Moves a key that this transaction has locked to a number. */
export async function moveKey(tx: Transaction, place: Place): Promise<void> {
  await tx.execute(sql`UPDATE inbox_key SET last_seq = ${place.seq}::bigint WHERE ${ofKey(place)}`);
}

/**
 * Keeps a message, or with `body` null the note that it has been dealt with, until its key comes to it; the key is locked. A message takes
 * the place of its own note: a dead letter that was passed is redriven.
 * @throws PermanentError when another message has that number; of a note nothing is lost then, as the key passes the number all the same.
 */
export async function park(tx: Transaction, place: Place, parked: Parked): Promise<void> {
  const { topic, sender, key, seq } = place;
  const [row] = await tx.execute<{ mine: boolean }>(sql`
    WITH kept AS (
      INSERT INTO inbox_parked (topic, sender, msg_key, seq, event_id, body, headers)
      VALUES (${topic}, ${sender}, ${key}, ${seq}::bigint, ${parked.eventId},
        ${parked.body && Buffer.from(parked.body)}::bytea, ${JSON.stringify(parked.headers)}::text::jsonb)
      ON CONFLICT (topic, sender, msg_key, seq) DO UPDATE
        SET body = excluded.body, headers = excluded.headers
        WHERE inbox_parked.event_id = excluded.event_id AND excluded.body IS NOT NULL
      RETURNING xmax = 0 AS added
    )
    UPDATE inbox_key SET waiting = waiting + (SELECT count(*) FROM kept WHERE added)::int WHERE ${ofKey(place)}
    RETURNING EXISTS (SELECT FROM kept) AS mine`);
  if (!row?.mine && parked.body !== null) throw numberIsUsed(place);
}

/** Two messages with one number: their sender was restored, or somebody else uses its name. */
export function numberIsUsed({ seq, key, sender }: Place): PermanentError {
  return new PermanentError(
    `Number ${seq} of key ${key} was used before, by another message of ${sender || 'an unknown sender'}`,
  );
}

/** Lets the key pass a number that it has come to, where somebody counts, or did; undefined when it has not. */
export async function passIfNext(tx: Transaction, place: Place): Promise<KeyState | undefined> {
  const [row] = await tx.execute<{ waiting: number }>(sql`
    UPDATE inbox_key SET last_seq = ${place.seq}::bigint
    WHERE ${ofKey(place)} AND last_seq = ${place.seq}::bigint - 1 RETURNING waiting`);
  return row && { last: place.seq, waiting: row.waiting };
}

/**
 * Makes room for a message at this place, which is its own note at most, or the note of another that has been dealt with. False when another
 * message waits there, of which nothing would be left if the key passed it; the key is locked.
 */
export async function takePlace(tx: Transaction, place: Place, eventId: string): Promise<boolean> {
  const [row] = await tx.execute<{ other: boolean }>(sql`
    SELECT event_id <> ${eventId} AND body IS NOT NULL AS other FROM inbox_parked WHERE ${ofKey(place)} AND seq = ${place.seq}::bigint`);
  if (row?.other) return false;
  if (row) await unpark(tx, place);
  return true;
}

/** Takes the message at this place out of those that wait, if it is there; the key is locked. */
export async function unpark(tx: Transaction, place: Place): Promise<Parked | undefined> {
  const [row] = await tx.execute<{
    event_id: string;
    body: Buffer | null;
    headers: Record<string, string>;
  }>(sql`
    WITH taken AS (
      DELETE FROM inbox_parked WHERE ${ofKey(place)} AND seq = ${place.seq}::bigint RETURNING event_id, body, headers
    ), counted AS (
      UPDATE inbox_key SET waiting = waiting - 1 WHERE ${ofKey(place)} AND EXISTS (SELECT FROM taken)
    )
    SELECT event_id, body, headers FROM taken`);
  return row && { eventId: row.event_id, body: row.body, headers: row.headers };
}

/** Lets the key pass a message that has been dealt with: at once when it is the next, else when it comes to it. */
export async function pass(tx: Transaction, place: Place, eventId: string): Promise<KeyState> {
  const moved = await advance(tx, place);
  if (moved) return withoutNote(tx, place, moved);
  const state = await lockKey(tx, place);
  if (place.seq === state.last + 1n) {
    await moveKey(tx, place);
    return withoutNote(tx, place, { ...state, last: place.seq });
  }
  if (place.seq > state.last) await park(tx, place, { eventId, body: null, headers: {} });
  return state;
}

/** The key has passed the number itself: a note that it is to be passed would wait for ever. */
async function withoutNote(tx: Transaction, place: Place, state: KeyState): Promise<KeyState> {
  if (state.waiting === 0) return state;
  const rows = await tx.execute(sql`
    WITH note AS (
      DELETE FROM inbox_parked WHERE ${ofKey(place)} AND seq = ${place.seq}::bigint AND body IS NULL RETURNING 1
    )
    UPDATE inbox_key SET waiting = waiting - 1 WHERE ${ofKey(place)} AND EXISTS (SELECT FROM note) RETURNING 1`);
  return { ...state, waiting: state.waiting - rows.length };
}

/**
 * Lets a key of which nothing was dealt with yet begin behind this number, or before the first message that is there by now. Who keeps one at this
 * moment is waited for.
 */
export async function beginKeyAt(tx: Transaction, place: Place): Promise<void> {
  if ((await lockKey(tx, place)).last > 0n) return;
  await tx.execute(sql`
    UPDATE inbox_key SET last_seq = least(${place.seq}::bigint,
      (SELECT min(seq) - 1 FROM inbox_parked WHERE ${ofKey(place)}),
      (SELECT min(key_seq) - 1 FROM inbox_failing WHERE ${ofKey(place)} AND NOT passed))
    WHERE ${ofKey(place)}`);
}

/** Whether the key waits for this number, and it is not there. Who keeps it at this moment is waited for; the key is locked. */
export async function isMissing(tx: Transaction, place: Place): Promise<boolean> {
  if ((await lockKey(tx, place)).last !== place.seq - 1n) return false;
  const there = await tx.execute(sql`
    SELECT FROM inbox_parked WHERE ${ofKey(place)} AND seq = ${place.seq}::bigint
    UNION ALL SELECT FROM inbox_failing WHERE ${ofKey(place)} AND key_seq = ${place.seq}::bigint`);
  return there.length === 0;
}

export interface Waiting {
  seq: bigint;
  /** Undefined for one that has been dealt with, and is only to be passed. */
  eventId: string | undefined;
}

/** What is to be dealt with next of those that wait of a key: `inOrder` only the next number, else the first of them. Read without a lock. */
export async function nextWaiting(
  db: Executor,
  key: Omit<Place, 'seq'>,
  inOrder: boolean,
): Promise<Waiting | undefined> {
  const next = sql`AND seq = (SELECT last_seq + 1 FROM inbox_key WHERE ${ofKey(key)})`;
  const [row] = await db.execute<{ seq: string; event_id: string | null }>(sql`
    SELECT seq::text AS seq, CASE WHEN body IS NOT NULL THEN event_id END AS event_id
    FROM inbox_parked WHERE ${ofKey(key)} ${inOrder ? next : sql``} ORDER BY seq LIMIT 1`);
  return row && { seq: BigInt(row.seq), eventId: row.event_id ?? undefined };
}

/**
 * Keys whose next message is among those that wait: what a process left that ended between two of them. Of the topics that nobody wants in
 * order any more, all keys of which something waits. 100 of them by chance, so that those whose messages always fail leave room for the others.
 */
export async function readyKeys(
  db: Executor,
  topics: { ordered: string[]; unordered: string[] },
): Promise<Omit<Place, 'seq'>[]> {
  const named = (names: string[]) =>
    sql`(SELECT json_array_elements_text(${JSON.stringify(names)}::text::json))`;
  const rows = await db.execute<{ topic: string; sender: string; msg_key: string }>(sql`
    SELECT topic, sender, msg_key FROM inbox_key k
    WHERE waiting > 0 AND (topic IN ${named(topics.unordered)} OR topic IN ${named(topics.ordered)} AND EXISTS (
      SELECT FROM inbox_parked p
      WHERE p.topic = k.topic AND p.sender = k.sender AND p.msg_key = k.msg_key AND p.seq = k.last_seq + 1))
    ORDER BY random() LIMIT 100`);
  return rows.map(({ topic, sender, msg_key }) => ({ topic, sender, key: msg_key }));
}

/** Of one topic no more than 10,000 keys are looked at. */
export interface WaitingKeys {
  messages: number;
  /** Of the key whose first message waits longest. */
  oldestSeconds: number;
  /** Keys that wait for a dead letter. */
  held: number;
  /** Keys that wait neither for one nor for a message that fails again and again. */
  missing: number;
  /** The same of these. */
  missingSeconds: number;
}

/** What waits of these topics. Costs a few looks into an index for each key, however many messages wait on it. */
export async function waitingKeys(
  db: Executor,
  topics: readonly string[],
): Promise<Record<string, WaitingKeys>> {
  const rows = await db.execute<{
    topic: string;
    messages: number;
    oldest: number;
    held: number;
    missing: number;
    missing_oldest: number;
  }>(sql`
    SELECT k.topic, sum(k.waiting)::int AS messages, coalesce(max(seconds), 0)::float8 AS oldest,
      (count(*) FILTER (WHERE held))::int AS held,
      (count(*) FILTER (WHERE NOT held AND NOT failing))::int AS missing,
      coalesce(max(seconds) FILTER (WHERE NOT held AND NOT failing), 0)::float8 AS missing_oldest
    FROM json_array_elements_text(${JSON.stringify(topics)}::text::json) AS t (topic) CROSS JOIN LATERAL (
      SELECT * FROM inbox_key WHERE topic = t.topic AND waiting > 0 LIMIT 10000
    ) AS k CROSS JOIN LATERAL (
      SELECT (SELECT extract(epoch FROM clock_timestamp() - parked_at) FROM inbox_parked p
          WHERE p.topic = k.topic AND p.sender = k.sender AND p.msg_key = k.msg_key ORDER BY seq LIMIT 1) AS seconds,
        (SELECT true FROM dead_letter d WHERE d.state = 'waiting' AND d.holds_key
          AND d.topic = k.topic AND d.msg_key = k.msg_key AND d.sender = k.sender LIMIT 1) IS NOT NULL AS held,
        (SELECT true FROM inbox_failing f
          WHERE f.topic = k.topic AND f.sender = k.sender AND f.msg_key = k.msg_key AND NOT f.passed LIMIT 1) IS NOT NULL AS failing
    ) AS found GROUP BY k.topic`);
  return Object.fromEntries(
    rows.map(({ topic, oldest, missing_oldest, ...row }) => [
      topic,
      { ...row, oldestSeconds: oldest, missingSeconds: missing_oldest },
    ]),
  );
}
