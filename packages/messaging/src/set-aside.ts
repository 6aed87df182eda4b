import type { Database, Transaction } from '@sidecart/kit/db';
import {
  type Applied,
  behind,
  handlerOf,
  isOrdered,
  passAgain,
  type Taken,
  type TopicHandlers,
} from './applying.ts';
import { placeOf } from './delivery.ts';
import type { ReceivedEnvelope } from './envelope.ts';
import { type FailingMessage, keepFailing, passFailing } from './failing.ts';
import { recordOnce, setOutcome } from './inbox.ts';
import { advance, lockKey, moveKey, type Place, pass, unpark } from './key-order.ts';

// A message that fails for now is delivered again, without end. Left to the broker it has one of the few places for what a service has not
// answered, and a lane for as long as its sidecar tries it, again and again: some dozens of them leave nothing for the others (ADR 20).

class NotSetAsideError extends Error {}

/**
 * Takes a delivery that fails again and again from the broker. It keeps its key where its handler wants the order; the others pass it.
 * Undefined, and nothing done, for one that is to be handled as ever: what the key will refuse, or would only have to wait for its turn.
 */
export async function setAsideDelivery(
  { db }: Database,
  o: Omit<Taken, 'delivery'> & { envelope: ReceivedEnvelope; why: string },
): Promise<Applied | undefined> {
  const { topic, topicHandlers, envelope, raw, why } = o;
  const handler = handlerOf(topicHandlers, envelope.type);
  if (!handler) return undefined;
  const place = placeOf(topic, envelope);
  const keep = (tx: Transaction, passed: boolean) =>
    keepFailing(tx, { eventId: envelope.id, ...raw, place, passed }, why);

  async function inOrder(tx: Transaction): Promise<Applied> {
    if (!(await recordOnce(tx, topic, envelope.id, 'failing')))
      return passAgain(tx, place, envelope.id, await advance(tx, place));
    const { last } = await lockKey(tx, place);
    if (place.seq <= last) throw new NotSetAsideError();
    if (handler?.ordered) {
      if (place.seq !== last + 1n) throw new NotSetAsideError();
      await keep(tx, false);
      return { outcome: 'set_aside' };
    }
    await keep(tx, true);
    return { outcome: 'set_aside', ...behind(place, await pass(tx, place, envelope.id)) };
  }

  try {
    return await db.transaction(async (tx) => {
      if (isOrdered(topicHandlers)) return inOrder(tx);
      if (!(await recordOnce(tx, topic, envelope.id, 'failing'))) return { outcome: 'duplicate' };
      await keep(tx, false);
      return { outcome: 'set_aside' };
    });
  } catch (err) {
    if (err instanceof NotSetAsideError) return undefined;
    throw err;
  }
}

/**
 * The same for a message that was parked, whose turn has come and which fails: those of other keys have their turn. False when it is
 * parked no more.
 */
export async function setAsideParked(
  { db }: Database,
  topicHandlers: TopicHandlers,
  { place, eventId, type, why }: { place: Place; eventId: string; type: string | undefined; why: string },
): Promise<boolean> {
  try {
    return await db.transaction(async (tx) => {
      const { last } = await lockKey(tx, place);
      const parked = await unpark(tx, place);
      if (!parked?.body || parked.eventId !== eventId) throw new NotSetAsideError();
      const passed = isOrdered(topicHandlers) && !handlerOf(topicHandlers, type)?.ordered;
      if (passed && place.seq === last + 1n) await moveKey(tx, place);
      await keepFailing(tx, { ...parked, body: parked.body, place, passed }, why);
      await setOutcome(tx, place.topic, eventId, 'failing');
      return true;
    });
  } catch (err) {
    if (err instanceof NotSetAsideError) return false;
    throw err;
  }
}

/** Lets the key of a message that was set aside go on, as its handler does not want the order any more; the others wait for it no longer. */
export async function releaseKey({ db }: Database, message: FailingMessage): Promise<{ waiting?: Place }> {
  const { place, eventId } = message;
  return db.transaction(async (tx) => {
    if (!(await passFailing(tx, message))) return {};
    return behind(place, await pass(tx, place, eventId));
  });
}
