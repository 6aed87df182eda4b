import type { Executor, Transaction } from '@sidecart/kit/db';
import { sql } from 'drizzle-orm';
import { type FailingMessage, takeFailing } from './failing.ts';
import { withoutNul } from './failures.ts';
import { setOutcome } from './inbox.ts';
import { lockKey, type Place, pass, passIfNext, unpark } from './key-order.ts';
import { type DeadLetterReason, deadLetter, inbox } from './schema.ts';

export interface DeadMessage {
  topic: string;
  eventId: string;
  type: string | undefined;
  key: string | undefined;
  /** Where it stands among those of its key; absent on a topic that nobody wants in order. */
  place?: Place | undefined;
  /** The messages behind it wait until it is redriven or discarded. */
  holdsKey?: boolean;
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
    await keepDead(tx, dead);
    if (dead.place && !dead.holdsKey) await pass(tx, dead.place, dead.eventId);
    return true;
  });
}

/**
 * The same for a message that was parked, and whose key has come to it. The key stays where it is if the message holds it, else it
 * passes. False when it is parked no more.
 */
export async function buryParked(db: Executor, dead: DeadMessage): Promise<boolean> {
  const { place } = dead;
  if (!place) throw new TypeError('What was parked has a place');
  return db.transaction(async (tx) => {
    await lockKey(tx, place);
    if (!(await unpark(tx, place))) return false;
    await setOutcome(tx, dead.topic, dead.eventId, 'dead_letter');
    await keepDead(tx, dead);
    if (!dead.holdsKey) await pass(tx, place, dead.eventId);
    return true;
  });
}

/**
 * The same for a message that was set aside: if it does not hold its key, that passes it, unless it has. False when it is set aside no
 * more.
 */
export async function buryFailing(
  db: Executor,
  dead: DeadMessage,
  { place, passed }: Pick<FailingMessage, 'place' | 'passed'>,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    if (!(await takeFailing(tx, dead.topic, dead.eventId, 'dead_letter'))) return false;
    await keepDead(tx, dead);
    if (!dead.holdsKey && !passed) await passIfNext(tx, place);
    return true;
  });
}

/** Whether a dead letter waits that keeps its key. */
export async function deadLetterHoldsKey(tx: Transaction, topic: string, eventId: string): Promise<boolean> {
  const rows = await tx.execute(sql`
    SELECT FROM dead_letter WHERE topic = ${topic} AND event_id = ${eventId} AND state = 'waiting' AND holds_key`);
  return rows.length > 0;
}

/**
 * Writes the dead letter alone. One that was decided before, and came again after its inbox row was purged, waits for a decision
 * once more.
 */
async function keepDead(tx: Transaction, dead: DeadMessage): Promise<void> {
  await tx
    .insert(deadLetter)
    .values({
      topic: dead.topic,
      eventId: dead.eventId,
      type: dead.type ?? null,
      msgKey: dead.key ?? null,
      sender: dead.place?.sender ?? null,
      keySeq: dead.place?.seq ?? null,
      holdsKey: dead.holdsKey ?? false,
      reason: dead.reason,
      detail: withoutNul(dead.detail),
      body: Buffer.from(dead.body),
      headers: dead.headers,
      attempts: dead.attempts,
    })
    .onConflictDoUpdate({
      target: [deadLetter.topic, deadLetter.eventId],
      set: {
        state: 'waiting',
        resolvedAt: null,
        sender: sql`excluded.sender`,
        keySeq: sql`excluded.key_seq`,
        holdsKey: sql`excluded.holds_key`,
        reason: sql`excluded.reason`,
        detail: sql`excluded.detail`,
        body: sql`excluded.body`,
        headers: sql`excluded.headers`,
        attempts: sql`excluded.attempts`,
        diedAt: sql`excluded.died_at`,
      },
      setWhere: sql`${deadLetter.state} <> 'waiting'`,
    });
}
