import type { Executor } from '@sidecart/kit/db';
import { type PurgeOptions, purgeByPages } from '@sidecart/kit/purge';
import { and, eq, sql } from 'drizzle-orm';
import { INBOX_DAYS } from './limits.ts';
import { runPrepared } from './prepared.ts';
import { inbox } from './schema.ts';

type Outcome = typeof inbox.$inferSelect.outcome;

const RECORD = `
  INSERT INTO inbox (topic, event_id, outcome) VALUES ($1::text, $2::text, $3::text)
  ON CONFLICT DO NOTHING RETURNING 1`;

/**
 * Records that the message was handled, in the transaction of its effect where it has one. False when it was before:
 * then there is nothing to do. A second delivery at the same moment waits here until the first has committed (false)
 * or rolled back (true).
 */
export async function recordOnce(
  db: Executor,
  topic: string,
  eventId: string,
  outcome: 'applied' | 'unhandled' | 'failing',
): Promise<boolean> {
  const rows = await runPrepared(db, 'inbox_record', RECORD, [topic, eventId, outcome]);
  return rows.length > 0;
}

/** What became of a message that was received before, or undefined for one that was not. */
export async function outcomeOf(db: Executor, topic: string, eventId: string): Promise<Outcome | undefined> {
  const [row] = await db
    .select({ outcome: inbox.outcome })
    .from(inbox)
    .where(and(eq(inbox.topic, topic), eq(inbox.eventId, eventId)));
  return row?.outcome;
}

/** What becomes of a message after all: of one that was parked. */
export async function setOutcome(
  db: Executor,
  topic: string,
  eventId: string,
  outcome: Outcome,
): Promise<void> {
  await db
    .update(inbox)
    .set({ outcome })
    .where(and(eq(inbox.topic, topic), eq(inbox.eventId, eventId)));
}

/** A dead letter is handled after all, in this transaction; false when it is none, or none any more by the time this is its turn. */
export async function applyDead(db: Executor, topic: string, eventId: string): Promise<boolean> {
  const rows = await db
    .update(inbox)
    .set({ outcome: 'applied' })
    .where(and(eq(inbox.topic, topic), eq(inbox.eventId, eventId), eq(inbox.outcome, 'dead_letter')))
    .returning({ topic: inbox.topic });
  return rows.length > 0;
}

/** Deletes inbox rows that no redelivery can ask for any more, and returns how many. What is still to be handled keeps its row. */
export function purgeInbox(db: Executor, o: PurgeOptions = {}): Promise<number> {
  const old = sql`received_at < now() - make_interval(days => ${INBOX_DAYS}) AND outcome NOT IN ('parked', 'failing')`;
  return purgeByPages(db, inbox, old, o);
}
