import { runInContext } from '@sidecart/kit/context';
import type { Database, Transaction } from '@sidecart/kit/db';
import { deadLetterHoldsKey } from './bury.ts';
import { untilAborted, withDeadline } from './deadline.ts';
import { contextOf, type Delivery, placeOf, readDelivery, readMessage } from './delivery.ts';
import type { ReceivedEnvelope } from './envelope.ts';
import { type FailingMessage, takeFailing } from './failing.ts';
import { HandlerTimeoutError, UnreadableError } from './failures.ts';
import type { Handler } from './handler.ts';
import { outcomeOf, recordOnce, setOutcome } from './inbox.ts';
import {
  advance,
  type KeyState,
  lockKey,
  moveKey,
  nextWaiting,
  numberIsUsed,
  type Parked,
  type Place,
  park,
  passIfNext,
  takePlace,
  unpark,
} from './key-order.ts';

/** What one service does with the messages of a topic. */
export interface TopicHandlers {
  kind: 'fact' | 'command';
  handlers: Record<string, Handler>;
}

/** A message as it was delivered. */
export interface Taken {
  topic: string;
  topicHandlers: TopicHandlers;
  delivery: Delivery;
  /** The headers are without secrets. */
  raw: { body: Uint8Array; headers: Record<string, string> };
}

export interface Applied {
  outcome: 'applied' | 'duplicate' | 'unhandled' | 'parked' | 'set_aside';
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

/** A message that was set aside is tried again. Nobody waits for it, so its handler is undone when its time is over. */
export interface Retried {
  message: FailingMessage;
  /** Time for its handler, in ms. */
  timeoutMs: number;
  /** Then it is undone at once. */
  stopping: AbortSignal;
  /** Is told of its handling, which may go on when its time is over. */
  onBegun: (handling: Promise<void>) => void;
}

/**
 * Deals with one delivery: its effect, its inbox row and its place in the order commit together or not at all. One that was set aside is
 * dealt with as if it came now, unless its key has passed it.
 * @throws what the handler throws; UnreadableError, PermanentError for what can never be handled.
 */
export async function applyDelivery(
  { db }: Database,
  { topic, topicHandlers, delivery, raw, retried }: Taken & { retried?: Retried },
): Promise<Applied> {
  if (delivery.fault) throw delivery.fault;
  const envelope = delivery.envelope as ReceivedEnvelope;
  const handler = requiredHandler(topicHandlers, envelope.type);
  const ordered = isOrdered(topicHandlers) && !retried?.message.passed;
  const begin = retried ? takeFailing : recordOnce;
  if (!handler && !ordered && !retried) {
    // Nothing else commits with it, so one statement is enough; of all facts most are of no interest here.
    const first = await recordOnce(db, topic, envelope.id, 'unhandled');
    return { outcome: first ? 'unhandled' : 'duplicate' };
  }
  const message = handler && readMessage(handler, envelope);
  const outcome = handler ? 'applied' : 'unhandled';
  const handle = async (tx: Transaction) => {
    if (!handler || !message) return;
    const handling = handler.handle(tx, message);
    if (!retried) return handling;
    const { timeoutMs, stopping, onBegun } = retried;
    onBegun(handling);
    const late = () => new HandlerTimeoutError(`Not handled within ${timeoutMs} ms`);
    await withDeadline(timeoutMs, untilAborted(stopping, handling), late);
  };

  if (!ordered)
    return db.transaction(async (tx) => {
      if (!(await begin(tx, topic, envelope.id, outcome))) return { outcome: 'duplicate' };
      await handle(tx);
      // The order may have been wanted when it was set aside: what waits behind it goes on.
      const { place, passed } = retried?.message ?? { passed: true };
      const moved = place && !passed ? await passIfNext(tx, place) : undefined;
      return { outcome, ...(place && moved && behind(place, moved)) };
    });

  const place = placeOf(topic, envelope);
  return db.transaction(async (tx) => {
    const [first, moved] = await Promise.all([begin(tx, topic, envelope.id, outcome), advance(tx, place)]);
    if (!first) return passAgain(tx, place, envelope.id, moved);
    if (moved) {
      // A process that ended between two messages may have left another one of this number.
      if (moved.waiting > 0 && !(await takePlace(tx, place, envelope.id))) throw numberIsUsed(place);
      await handle(tx);
      return { outcome, ...behind(place, moved) };
    }
    const key = await lockKey(tx, place);
    if (place.seq <= key.last) throw numberIsUsed(place);
    if (place.seq === key.last + 1n) {
      if (!(await takePlace(tx, place, envelope.id))) throw numberIsUsed(place);
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
 * parked, or was set aside, or is a dead letter that holds its key, is not to be passed by a duplicate.
 */
export async function passAgain(
  tx: Transaction,
  place: Place,
  eventId: string,
  moved: KeyState | undefined,
): Promise<Applied> {
  if (!moved) return { outcome: 'duplicate' };
  const before = await outcomeOf(tx, place.topic, eventId);
  const passes =
    before === 'dead_letter'
      ? !(await deadLetterHoldsKey(tx, place.topic, eventId))
      : before === 'applied' || before === 'unhandled';
  if (!passes || !(await takePlace(tx, place, eventId))) await moveKey(tx, { ...place, seq: place.seq - 1n });
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

export const behind = (place: Place, { waiting }: KeyState): { waiting?: Place } =>
  waiting > 0 ? { waiting: place } : {};
