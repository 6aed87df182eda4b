import { runInContext } from '@sidecart/kit/context';
import type { Database, Transaction } from '@sidecart/kit/db';
import { eq, sql } from 'drizzle-orm';
import { handlerOf, isOrdered } from './applying.ts';
import type { Consumer } from './consumer.ts';
import { contextOf, placeOf, readDelivery, readMessage } from './delivery.ts';
import { isSetAside } from './failing.ts';
import { classifyFailure, rootMessage, UnreadableError, withoutNul } from './failures.ts';
import { applyDead, recordOnce, setOutcome } from './inbox.ts';
import { lockKey, type Place, park, pass } from './key-order.ts';
import { forgetDeaths } from './poison.ts';
import { deadLetter, deadLetterAction } from './schema.ts';

type Row = typeof deadLetter.$inferSelect;

export interface Decision {
  /**
   * `parked`: it waits for those before it on its key. `already_...`: nothing was changed. `failed`: its handling failed again, and
   * it waits as before; `detail` says why.
   */
  outcome:
    | 'applied'
    | 'parked'
    | 'discarded'
    | 'already_applied'
    | 'already_redriven'
    | 'already_discarded'
    | 'failed';
  detail?: string;
}

interface Deciding {
  database: Database;
  consumer: Pick<Consumer, 'topics' | 'drain'>;
}

/** What a redrive is noted with until it is known what came of it: for good, where its handler kills the process. */
const BEGUN = 'begun';

/**
 * Handles a dead letter once more: by the same handler, under the same event id, in one transaction with its inbox row and the note
 * of what came of it; who asked for it is noted before. One that has its effect already changes nothing. Undefined when there is none of
 * that id.
 */
export async function redriveDeadLetter(
  { database, consumer }: Deciding,
  id: bigint,
  actor: string,
): Promise<Decision | undefined> {
  const redrive = await begin(database.db, id, actor);
  if (redrive === undefined) {
    const [row] = await database.db.select().from(deadLetter).where(eq(deadLetter.id, id));
    return settledBefore(row);
  }
  let place: Place | undefined;
  try {
    const decision = await database.db.transaction(async (tx) => {
      const row = await lock(tx, id);
      const settled = settledBefore(row);
      if (row && !settled) {
        const made = await handleAgain(tx, row, consumer.topics);
        place = made.place;
        await resolve(tx, row, 'redriven');
        await end(tx, redrive, made.outcome);
        return { outcome: made.outcome } satisfies Decision;
      }
      if (settled) await end(tx, redrive, settled.outcome);
      return settled;
    });
    if (place) void consumer.drain(place);
    return decision;
  } catch (err) {
    const failure = classifyFailure(err);
    const detail = failure.kind === 'permanent' ? failure.detail : rootMessage(err);
    await end(database.db, redrive, `failed: ${detail}`);
    return { outcome: 'failed', detail };
  }
}

/** Gives a dead letter up: the messages behind it on its key go on without it. Undefined when there is none of that id. */
export async function discardDeadLetter(
  { database, consumer }: Deciding,
  id: bigint,
  by: { actor: string; note: string },
): Promise<Decision | undefined> {
  let place: Place | undefined;
  const decision = await database.db.transaction(async (tx): Promise<Decision | undefined> => {
    const row = await lock(tx, id);
    const settled = settledBefore(row);
    if (!row || settled) return settled;
    if (row.holdsKey && row.sender !== null && row.msgKey !== null && row.keySeq !== null) {
      place = { topic: row.topic, sender: row.sender, key: row.msgKey, seq: row.keySeq };
      await lockKey(tx, place); // who sets aside what came at this moment is waited for
      // Of a lost one that came after all, and fails: the key waits for that.
      if (!(await isSetAside(tx, place))) await pass(tx, place, row.eventId);
    }
    await resolve(tx, row, 'discarded');
    await note(tx, { deadLetterId: id, action: 'discard', ...by });
    return { outcome: 'discarded' };
  });
  if (place) void consumer.drain(place);
  return decision;
}

async function handleAgain(
  tx: Transaction,
  row: Row,
  topics: Consumer['topics'],
): Promise<{ outcome: 'applied' | 'parked' | 'already_applied'; place?: Place }> {
  const delivery = readDelivery(row.body);
  if (delivery.fault || !delivery.envelope) throw delivery.fault;
  const { envelope } = delivery;
  const topicHandlers = topics[row.topic];
  if (!topicHandlers)
    throw new UnreadableError('unknown_type', `Topic ${row.topic} is not consumed any more`);
  const handler = handlerOf(topicHandlers, envelope.type);
  if (!handler && topicHandlers.kind === 'command')
    throw new UnreadableError('unknown_type', `No handler for command ${envelope.type}`);
  const message = handler && readMessage(handler, envelope);

  // An envelope that could not be read was known by its hash; mended, it has an id of its own. Who has it in hand at this moment, a
  // delivery or another redrive, is waited for.
  const taken =
    (await recordOnce(tx, row.topic, envelope.id, 'applied')) ||
    (await applyDead(tx, row.topic, envelope.id));
  if (!taken) return { outcome: 'already_applied' };

  const place = isOrdered(topicHandlers) ? placeOf(row.topic, envelope) : undefined;
  if (place && handler?.ordered) {
    const { last } = await lockKey(tx, place);
    if (place.seq > last + 1n) {
      await forgetDeaths(tx, row.topic, envelope.id);
      await park(tx, place, { eventId: envelope.id, body: row.body, headers: row.headers });
      await setOutcome(tx, row.topic, envelope.id, 'parked');
      return { outcome: 'parked' };
    }
  }
  if (place) await pass(tx, place, envelope.id);
  if (handler && message) await runInContext(contextOf(delivery), () => handler.handle(tx, message));
  return { outcome: 'applied', ...(place && { place }) };
}

async function lock(tx: Transaction, id: bigint): Promise<Row | undefined> {
  const [row] = await tx.select().from(deadLetter).where(eq(deadLetter.id, id)).for('update');
  return row;
}

function settledBefore(row: Pick<Row, 'state'> | undefined): Decision | undefined {
  return row && row.state !== 'waiting' ? { outcome: `already_${row.state}` } : undefined;
}

async function resolve(tx: Transaction, { id }: Row, state: 'redriven' | 'discarded'): Promise<void> {
  await tx.update(deadLetter).set({ state, resolvedAt: sql`clock_timestamp()` }).where(eq(deadLetter.id, id));
}

async function note(tx: Transaction, action: typeof deadLetterAction.$inferInsert): Promise<void> {
  await tx.insert(deadLetterAction).values({ ...action, note: withoutNul(action.note) });
}

/** Notes that a redrive was asked for, before anything is done. Undefined when the dead letter does not wait, or is not there. */
async function begin(db: Database['db'], id: bigint, actor: string): Promise<bigint | undefined> {
  const [row] = await db.execute<{ id: string }>(sql`
    INSERT INTO dead_letter_action (dead_letter_id, actor, action, note)
    SELECT id, ${actor}, 'redrive', ${BEGUN} FROM dead_letter WHERE id = ${id} AND state = 'waiting'
    RETURNING id`);
  return row && BigInt(row.id);
}

/** Notes what came of it. */
async function end(db: Database['db'] | Transaction, redrive: bigint, outcome: string): Promise<void> {
  await db
    .update(deadLetterAction)
    .set({ note: withoutNul(outcome) })
    .where(eq(deadLetterAction.id, redrive));
}
