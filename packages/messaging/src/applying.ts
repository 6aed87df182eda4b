import { runInContext } from '@sidecart/kit/context';
import type { Database, Transaction } from '@sidecart/kit/db';
import { contextOf, type Delivery, placeOf, readDelivery, readMessage } from './delivery.ts';
import type { ReceivedEnvelope } from './envelope.ts';
import { PermanentError, UnreadableError } from './failures.ts';
import type { Handler } from './handler.ts';
import { outcomeOf, recordOnce, setOutcome } from './inbox.ts';
import {
  advance,
  type KeyState,
  lockKey,
  moveKey,
  nextWaiting,
  type Parked,
  type Place,
  park,
  unpark,
} from './key-order.ts';

/** What one service does with the messages of a topic. */
export interface TopicHandlers {
  kind: 'fact' | 'command';
  handlers: Record<string, Handler>;
}

export interface Applied {
  outcome: 'applied' | 'duplicate' | 'unhandled' | 'parked';
  /** Set when messages wait behind it that may be next now. */
  waiting?: Place;
}

/** The handler for a message, if there is one. Own properties only: a type may be called `toString`. */
export function handlerOf({ handlers }: TopicHandlers, type: string | undefined): Handler | undefined {
  return type !== undefined && Object.hasOwn(handlers, type) ? handlers[type] : undefined;
}

/**
 * Of a fact a service may have no handler; a command is for it alone.
 * @throws UnreadableError for a command without one, also for one that waited: a newer version may have kept it, before a roll-back.
 */
function requiredHandler(topicHandlers: TopicHandlers, type: string): Handler | undefined {
  const handler = handlerOf(topicHandlers, type);
  if (!handler && topicHandlers.kind === 'command')
    throw new UnreadableError('unknown_type', `No handler for command ${type}`);
  return handler;
}

/** Whether the messages of a topic are counted per key: as soon as one of its handlers wants the order. */
export function isOrdered({ handlers }: TopicHandlers): boolean {
  return Object.values(handlers).some(({ ordered }) => ordered);
}

/**
 * Deals with one delivery: its effect, its inbox row and its place in the order commit together or not at all.
 * @throws what the handler throws; UnreadableError, PermanentError for what can never be handled.
 */
export async function applyDelivery(
  { db }: Database,
  {
    topic,
    topicHandlers,
    delivery,
    raw,
  }: {
    topic: string;
    topicHandlers: TopicHandlers;
    delivery: Delivery;
    raw: { body: Uint8Array; headers: Record<string, string> };
  },
): Promise<Applied> {
  if (delivery.fault) throw delivery.fault;
  const envelope = delivery.envelope as ReceivedEnvelope;
  const handler = requiredHandler(topicHandlers, envelope.type);
  const ordered = isOrdered(topicHandlers);
  if (!handler && !ordered) {
    // Nothing else commits with it, so one statement is enough; of all facts most are of no interest here.
    const first = await recordOnce(db, topic, envelope.id, 'unhandled');
    return { outcome: first ? 'unhandled' : 'duplicate' };
  }
  const message = handler && readMessage(handler, envelope);
  const outcome = handler ? 'applied' : 'unhandled';
  const handle = async (tx: Transaction) => {
    if (handler && message) await handler.handle(tx, message);
  };

  if (!ordered)
    return db.transaction(async (tx) => {
      if (!(await recordOnce(tx, topic, envelope.id, outcome))) return { outcome: 'duplicate' };
      await handle(tx);
      return { outcome };
    });

  const place = placeOf(topic, envelope);
  return db.transaction(async (tx) => {
    const [first, moved] = await Promise.all([
      recordOnce(tx, topic, envelope.id, outcome),
      advance(tx, place),
    ]);
    if (!first) return passAgain(tx, place, envelope.id, moved);
    if (moved) {
      await handle(tx);
      return { outcome, ...behind(place, moved) };
    }
    const key = await lockKey(tx, place);
    if (place.seq <= key.last)
      throw new PermanentError(
        `Number ${place.seq} of key ${place.key} was used before, by another message of ${place.sender || 'an unknown sender'}`,
      );
    if (place.seq === key.last + 1n) {
      await moveKey(tx, place);
      await handle(tx);
      return { outcome, ...behind(place, key) };
    }
    if (handler?.ordered) {
      await park(tx, place, { eventId: envelope.id, ...raw });
      await setOutcome(tx, topic, envelope.id, 'parked');
      return { outcome: 'parked' };
    }
    await park(tx, place, { eventId: envelope.id, body: null, headers: {} });
    await handle(tx);
    return { outcome };
  });
}

/**
 * A message that was dealt with before may still be the next of its key: order was not asked for when it came first. One that is
 * parked, or a dead letter, is not to be passed by a duplicate.
 */
async function passAgain(
  tx: Transaction,
  place: Place,
  eventId: string,
  moved: KeyState | undefined,
): Promise<Applied> {
  if (!moved) return { outcome: 'duplicate' };
  const before = await outcomeOf(tx, place.topic, eventId);
  if (before === 'applied' || before === 'unhandled') await unpark(tx, place);
  else await moveKey(tx, { ...place, seq: place.seq - 1n });
  return { outcome: 'duplicate', ...behind(place, moved) };
}

export interface NextStep {
  place: Place;
  /** Undefined for a note that the key had only to pass. */
  parked?: Parked;
  delivery?: Delivery;
}

/**
 * Deals with the next message of a key if it is among those that wait, in one transaction; undefined when it is not there. On a topic that
 * nobody wants in order any more that is the first of those that wait, whatever is missing before it.
 * `seen` is told what is about to be handled; what it throws stands for what the handler would throw.
 * @throws as applyDelivery.
 */
export async function applyNext(
  { db }: Database,
  topicHandlers: TopicHandlers,
  key: Omit<Place, 'seq'>,
  seen: (step: NextStep) => void,
): Promise<NextStep | undefined> {
  return db.transaction(async (tx) => {
    const { last, waiting } = await lockKey(tx, key);
    if (waiting === 0) return undefined;
    const seq = isOrdered(topicHandlers) ? last + 1n : (await nextWaiting(tx, key, false))?.seq;
    if (seq === undefined) return undefined;
    const place = { ...key, seq };
    const parked = await unpark(tx, place);
    if (!parked) return undefined;
    // Beyond a gap the key stays: a version that still wants the order would refuse what fills it.
    if (seq === last + 1n) await moveKey(tx, place);
    if (parked.body === null) return { place };
    const delivery = readDelivery(parked.body);
    const step = { place, parked, delivery };
    seen(step);
    const envelope = delivery.envelope as ReceivedEnvelope;
    const handler = requiredHandler(topicHandlers, envelope.type);
    if (handler) {
      const message = readMessage(handler, envelope);
      await runInContext(contextOf(delivery), () => handler.handle(tx, message));
    }
    await setOutcome(tx, key.topic, parked.eventId, handler ? 'applied' : 'unhandled');
    return step;
  });
}

const behind = (place: Place, { waiting }: KeyState): { waiting?: Place } =>
  waiting > 0 ? { waiting: place } : {};
