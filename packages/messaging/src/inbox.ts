import type { Executor } from '@sidecart/kit/db';
import { count, sql } from 'drizzle-orm';
import { INBOX_DAYS } from './limits.ts';
import { type DeadLetterReason, deadLetter, inbox } from './schema.ts';

/**
 * Records that the message was handled, in the transaction of its effect where it has one. False when it was before:
 * then there is nothing to do. A second delivery at the same moment waits here until the first has committed (false)
 * or rolled back (true).
 */
export async function recordOnce(
  db: Executor,
  topic: string,
  eventId: string,
  outcome: 'applied' | 'unhandled',
): Promise<boolean> {
  const rows = await db
    .insert(inbox)
    .values({
      topic: sql.placeholder('topic'),
      eventId: sql.placeholder('eventId'),
      outcome: sql.placeholder('outcome'),
    })
    .onConflictDoNothing()
    .returning({ topic: inbox.topic })
    .prepare('inbox_record') // parsed and planned once per connection: this runs for every message
    .execute({ topic, eventId, outcome });
  return rows.length > 0;
}

export interface DeadMessage {
  topic: string;
  eventId: string;
  type: string | undefined;
  key: string | undefined;
  reason: DeadLetterReason;
  detail: string;
  body: Uint8Array;
  headers: Record<string, string>;
  attempts: number;
}

/**
 * Keeps a message that can never be handled, together with its inbox row, in one transaction. False when another
 * delivery has dealt with it already.
 */
export async function buryMessage(db: Executor, dead: DeadMessage): Promise<boolean> {
  return db.transaction(async (tx) => {
    const first = await tx
      .insert(inbox)
      .values({ topic: dead.topic, eventId: dead.eventId, outcome: 'dead_letter' })
      .onConflictDoNothing()
      .returning({ topic: inbox.topic });
    if (first.length === 0) return false;
    await tx
      .insert(deadLetter)
      .values({
        topic: dead.topic,
        eventId: dead.eventId,
        type: dead.type ?? null,
        msgKey: dead.key ?? null,
        reason: dead.reason,
        detail: withoutNul(dead.detail),
        body: Buffer.from(dead.body),
        headers: dead.headers,
        attempts: dead.attempts,
      })
      .onConflictDoNothing(); // buried before, and its inbox row purged since
    return true;
  });
}

export async function countDeadLetters(db: Executor): Promise<number> {
  const [row] = await db.select({ n: count() }).from(deadLetter);
  return row?.n ?? 0;
}

/** Deletes inbox rows that no redelivery can ask for any more; returns how many. */
export async function purgeInbox(db: Executor): Promise<number> {
  const purged = await db.execute(
    sql`DELETE FROM inbox WHERE received_at < now() - make_interval(days => ${INBOX_DAYS})`,
  );
  return purged.count;
}

/** PostgreSQL stores no NUL in a text, and a message of an error may quote one. */
function withoutNul(text: string): string {
  return text.replaceAll('\0', '\u{fffd}');
}
