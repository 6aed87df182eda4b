import type { Executor, Transaction } from '@sidecart/kit/db';
import { sql } from 'drizzle-orm';
import { withoutNul } from './failures.ts';
import type { Place } from './key-order.ts';
import { runPrepared } from './prepared.ts';

/** A message that was set aside: it fails, and is tried again from `inbox_failing`. */
export interface FailingMessage {
  topic: string;
  eventId: string;
  place: Place;
  /** Its key goes on without it. Else, where the order is counted, what is behind it waits. */
  passed: boolean;
  body: Uint8Array;
  headers: Record<string, string>;
  /** How often it has been tried from there, a try under way included. */
  tries: number;
}

/** Keeps a message; its inbox row says `failing` by the end of the same transaction. */
export async function keepFailing(
  tx: Transaction,
  { eventId, place, passed, body, headers }: Omit<FailingMessage, 'topic' | 'tries'>,
  why: string,
): Promise<void> {
  // There is one already only of the same message, whose inbox row an older version has purged.
  await tx.execute(sql`
    INSERT INTO inbox_failing (topic, event_id, sender, msg_key, key_seq, passed, body, headers, why)
    VALUES (${place.topic}, ${eventId}, ${place.sender}, ${place.key}, ${place.seq}::bigint, ${passed},
      ${Buffer.from(body)}::bytea, ${JSON.stringify(headers)}::text::jsonb, ${withoutNul(why)})
    ON CONFLICT (topic, event_id) DO NOTHING`);
}

/** Whether a message was set aside that stands at this place, and that its key has not passed. */
export async function isSetAside(tx: Transaction, { topic, sender, key, seq }: Place): Promise<boolean> {
  const rows = await tx.execute(sql`
    SELECT FROM inbox_failing WHERE topic = ${topic} AND sender = ${sender} AND msg_key = ${key}
      AND key_seq = ${seq}::bigint AND NOT passed`);
  return rows.length > 0;
}

/** Lets the key of a message go on without it. False when it is not there, or was passed before. */
export async function passFailing(
  tx: Transaction,
  { topic, eventId }: Pick<FailingMessage, 'topic' | 'eventId'>,
): Promise<boolean> {
  const rows = await tx.execute(sql`
    UPDATE inbox_failing SET passed = true WHERE topic = ${topic} AND event_id = ${eventId} AND NOT passed RETURNING 1`);
  return rows.length > 0;
}

const TAKE = `
  WITH taken AS (
    DELETE FROM inbox_failing WHERE topic = $1::text AND event_id = $2::text RETURNING 1
  )
  INSERT INTO inbox AS i (topic, event_id, outcome) SELECT $1::text, $2::text, $3::text FROM taken
  ON CONFLICT (topic, event_id) DO UPDATE SET outcome = excluded.outcome WHERE i.outcome = 'failing'
  RETURNING 1`;

/**
 * Takes a message out of those that were set aside, in the transaction of what becomes of it. False when it is not among them any more:
 * then there is nothing to do. Its row is locked until the end, so that nobody else tries it meanwhile.
 */
export async function takeFailing(
  tx: Executor,
  topic: string,
  eventId: string,
  outcome: 'applied' | 'unhandled' | 'dead_letter',
): Promise<boolean> {
  const rows = await runPrepared(tx, 'inbox_failing_take', TAKE, [topic, eventId, outcome]);
  return rows.length > 0;
}

/** Which one is next: the one that is due for the longest time, or the one that was tried least. */
export type Choice = 'longest due' | 'least tried';

/** No try is later than this after the one before it, in ms: a broker would not wait for longer. */
const REST_AT_MOST_MS = 20_000;

/**
 * Chooses the next message to try, of the first of these topics that has one, and puts off what comes after this try, so that a process that
 * dies of it does not keep it: by `restMs` at first, by twice as much each time. What somebody else is trying is left out.
 */
export async function claimFailing(
  db: Executor,
  { topics, choice, restMs }: { topics: readonly string[]; choice: Choice; restMs: number },
): Promise<FailingMessage | undefined> {
  const order = choice === 'longest due' ? sql`due_at` : sql`tries, due_at`;
  // Nobody rests for a minute: then the clock of the database was set back since.
  const due = sql`(due_at <= clock_timestamp() OR due_at > clock_timestamp() + interval '1 minute')`;
  const [row] = await db.execute<{
    topic: string;
    event_id: string;
    sender: string;
    key: string;
    seq: string;
    passed: boolean;
    body: Buffer;
    headers: Record<string, string>;
    tries: number;
  }>(sql`
    UPDATE inbox_failing f SET tries = f.tries + 1, due_at = clock_timestamp() + make_interval(secs =>
      least(${REST_AT_MOST_MS}::float8, ${restMs}::float8 * 2 ^ least(f.tries, 20)) / 1000)
    FROM (
      SELECT first.topic, first.event_id
      FROM json_array_elements_text(${JSON.stringify(topics)}::text::json) WITH ORDINALITY AS t (topic, turn)
      CROSS JOIN LATERAL (
        SELECT topic, event_id FROM inbox_failing i WHERE i.topic = t.topic AND ${due}
        ORDER BY ${order} LIMIT 1 FOR UPDATE SKIP LOCKED
      ) AS first
      ORDER BY t.turn LIMIT 1
    ) AS next
    WHERE f.topic = next.topic AND f.event_id = next.event_id
    RETURNING f.topic, f.event_id, f.sender, f.msg_key AS key, f.key_seq::text AS seq, f.passed, f.body, f.headers, f.tries`);
  if (!row) return undefined;
  const { topic, event_id: eventId, sender, key, seq, ...rest } = row;
  return { topic, eventId, place: { topic, sender, key, seq: BigInt(seq) }, ...rest };
}

/** Notes what the latest try failed for. */
export async function noteWhy(
  db: Executor,
  { topic, eventId }: Pick<FailingMessage, 'topic' | 'eventId'>,
  why: string,
): Promise<void> {
  await db.execute(
    sql`UPDATE inbox_failing SET why = ${withoutNul(why)} WHERE topic = ${topic} AND event_id = ${eventId}`,
  );
}

export interface FailingOfTopic {
  /** Counted up to 10 000. */
  messages: number;
  /** The one that was tried most. */
  eventId: string;
  tries: number;
  why: string;
  /** For so long, in seconds, the first of those that were counted has been set aside. */
  seconds: number;
}

/** What was set aside, per topic, also of topics that this service does not consume any more. */
export async function failingByTopic(db: Executor): Promise<Record<string, FailingOfTopic>> {
  const rows = await db.execute<{
    topic: string;
    messages: number;
    event_id: string;
    tries: number;
    why: string;
    seconds: number;
  }>(sql`
    WITH RECURSIVE topics AS (
      SELECT min(topic) AS topic FROM inbox_failing
      UNION ALL SELECT (SELECT min(f.topic) FROM inbox_failing f WHERE f.topic > t.topic) FROM topics t WHERE t.topic IS NOT NULL
    )
    SELECT t.topic, counted.*, first.*
    FROM topics t
    CROSS JOIN LATERAL (
      SELECT count(*)::int AS messages, greatest(0, extract(epoch FROM clock_timestamp() - min(set_aside_at)))::float8 AS seconds
      FROM (SELECT set_aside_at FROM inbox_failing f WHERE f.topic = t.topic LIMIT 10000) AS few) AS counted
    CROSS JOIN LATERAL (
      SELECT event_id, tries, why
      FROM inbox_failing f WHERE f.topic = t.topic ORDER BY f.tries DESC, due_at DESC LIMIT 1) AS first
    WHERE t.topic IS NOT NULL`);
  return Object.fromEntries(
    rows.map(({ topic, event_id, ...row }) => [topic, { ...row, eventId: event_id }]),
  );
}
