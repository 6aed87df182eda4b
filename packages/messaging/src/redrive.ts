import { runInContext } from '@sidecart/kit/context';
import type { Database, Transaction } from '@sidecart/kit/db';
import { eq, sql } from 'drizzle-orm';
import { handlerOf, isOrdered } from './applying.ts';
import { withoutNul } from './bury.ts';
import type { Consumer } from './consumer.ts';
import { contextOf, placeOf, readDelivery, readMessage } from './delivery.ts';
import { classifyFailure, rootMessage, UnreadableError } from './failures.ts';
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

/**
 * Handles a dead letter once more: by the same handler, under the same event id, in one transaction with its inbox row and the note
 * of who asked for it. One that has its effect already changes nothing. Undefined when there is none of that id.
 */
export async function redriveDeadLetter(
  { database, consumer }: Deciding,
  id: bigint,
  actor: string,
): Promise<Decision | undefined> {
  let place: Place | undefined;
  try {
    const decision = await database.db.transaction(async (tx) => {
      const row = await lock(tx, id);
      if (!row) return undefined;
      const settled = settledBefore(row);
      if (settled) return settled;
      const made = await handleAgain(tx, row, consumer.topics);
      place = made.place;
      await resolve(tx, row, 'redriven');
      await note(tx, { deadLetterId: id, actor, action: 'redrive', note: made.outcome });
      return { outcome: made.outcome } satisfies Decision;
    });
    if (place) void consumer.drain(place);
    return decision;
  } catch (err) {
    const failure = classifyFailure(err);
    const detail = failure.kind === 'permanent' ? failure.detail : rootMessage(err);
    await note(database.db, { deadLetterId: id, actor, action: 'redrive', note: `failed: ${detail}` });
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
    if (!row) return undefined;
    const settled = settledBefore(row);
    if (settled) return settled;
    if (row.holdsKey && row.sender !== null && row.msgKey !== null && row.keySeq !== null) {
      place = { topic: row.topic, sender: row.sender, key: row.msgKey, seq: row.keySeq };
      await pass(tx, place, row.eventId);
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

function settledBefore({ state }: Row): Decision | undefined {
  return state === 'waiting' ? undefined : { outcome: `already_${state}` };
}

async function resolve(tx: Transaction, { id }: Row, state: 'redriven' | 'discarded'): Promise<void> {
  await tx.update(deadLetter).set({ state, resolvedAt: sql`clock_timestamp()` }).where(eq(deadLetter.id, id));
}

async function note(
  db: Database['db'] | Transaction,
  action: typeof deadLetterAction.$inferInsert,
): Promise<void> {
  await db.insert(deadLetterAction).values({ ...action, note: withoutNul(action.note) });
}
