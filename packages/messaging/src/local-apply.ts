import { runInContext } from '@sidecart/kit/context';
import type { Database, Transaction } from '@sidecart/kit/db';
import { buryMessage } from './bury.ts';
import { withDeadline } from './deadline.ts';
import { contextOf, readMessage } from './delivery.ts';
import { buildEnvelope } from './envelope.ts';
import { type Failure, HandlerTimeoutError, PoisonError } from './failures.ts';
import type { Handler } from './handler.ts';
import { MAX_STARTS } from './limits.ts';
import { SELF, UNNUMBERED } from './outbox-insert.ts';
import type { Begun, PoisonGuard } from './poison.ts';
import { runPrepared } from './prepared.ts';
import type { OutboxMessage } from './relay-queue.ts';
import { asArray } from './slot-session.ts';

export interface ApplyOptions {
  service: string;
  database: Database;
  handlers: Readonly<Record<string, Handler>>;
  /** Deletes the rows and says how many were there; for tests. */
  remove: (tx: Transaction, messages: readonly OutboxMessage[]) => Promise<number>;
  poison: Pick<PoisonGuard, 'begin'>;
  /** A handler that has not returned by then, in ms, has failed: its transaction is undone, and its slot goes on. */
  handlerTimeoutMs: number;
  /** The handler of a message took so long, in seconds. */
  observe: (type: string, seconds: number) => void;
}

/** What came of one transaction over some messages. */
export type Applied =
  /** The first so many, whose handlers took so long together. */
  | { kind: 'applied'; count: number; ms: number }
  /** Somebody else had some of them already; nothing was done. */
  | { kind: 'lost' }
  /** Nothing was done, because of the message at this place, or behind the last one, of the transaction itself. */
  | { kind: 'failed'; at: number; err: unknown };

/** A transaction takes no further message after so long, in ms: it holds locks, and a connection. */
const BATCH_MS = 25;

class LostError extends Error {}

/**
 * Handles some messages, or the first of them alone while processes of this service die without a word: then starts are
 * counted, and which of several killed it nobody could tell. One that killed it too often is not handled again.
 */
export async function applyGuarded(o: ApplyOptions, messages: readonly OutboxMessage[]): Promise<Applied> {
  const [first] = messages as readonly [OutboxMessage];
  let begun: Begun;
  try {
    begun = await o.poison.begin(SELF, first.eventId, o.handlerTimeoutMs);
  } catch (err) {
    return { kind: 'failed', at: 0, err };
  }
  if (begun.starts === 0) return applyMessages(o, messages);
  if (begun.starts > MAX_STARTS) {
    await begun.end({ keepCount: true });
    return { kind: 'failed', at: 0, err: new PoisonError(begun.starts - 1) };
  }
  let handling: Promise<void> = Promise.resolve();
  const applied = await applyMessages(o, [first], (running) => {
    handling = running;
  });
  const ended = handling.catch(() => {}).then(() => begun.end());
  // One that was given up may still kill: it counts until it has ended, and nobody waits for that.
  if (applied.kind === 'failed' && applied.err instanceof HandlerTimeoutError) begun.leave();
  else await ended;
  return applied;
}

/**
 * Runs the handlers of the messages, one after the other, and deletes their rows, in one transaction: their effects and their
 * ends commit together. A row that is not there to be deleted was handled by somebody else, who owned the slot before or
 * after: then all of it is undone.
 */
async function applyMessages(
  o: ApplyOptions,
  messages: readonly OutboxMessage[],
  onBegun: (handling: Promise<void>) => void = () => {},
): Promise<Applied> {
  let at = 0;
  let ms = 0;
  try {
    await o.database.db.transaction(async (tx) => {
      const beganAt = performance.now();
      for (; at < messages.length && ms < BATCH_MS; at++) {
        await handleOne(o, tx, messages[at] as OutboxMessage, onBegun);
        ms = performance.now() - beganAt;
      }
      if ((await o.remove(tx, messages.slice(0, at))) < at) throw new LostError();
    });
    return { kind: 'applied', count: at, ms };
  } catch (err) {
    return err instanceof LostError ? { kind: 'lost' } : { kind: 'failed', at, err };
  }
}

/** One without a number in the order of its key has that of its row. */
function envelopeOf(service: string, message: OutboxMessage) {
  const keySeq = message.keySeq === UNNUMBERED ? String(message.id) : message.keySeq;
  return buildEnvelope(service, { ...message, keySeq });
}

async function handleOne(
  o: ApplyOptions,
  tx: Transaction,
  message: OutboxMessage,
  onBegun: (handling: Promise<void>) => void,
): Promise<void> {
  const handler = Object.hasOwn(o.handlers, message.type) ? o.handlers[message.type] : undefined;
  // Only another version of this service can have sent it, in a rolling update or before a roll-back: it waits for that one.
  if (!handler) throw new Error(`No local handler for ${message.type}`);
  const envelope = envelopeOf(o.service, message);
  const read = readMessage(handler, envelope);
  const beganAt = performance.now();
  const running = runInContext(contextOf({ id: envelope.id, envelope }), () => handler.handle(tx, read));
  onBegun(running);
  const late = () => new HandlerTimeoutError(`Not handled within ${o.handlerTimeoutMs} ms`);
  await withDeadline(o.handlerTimeoutMs, running, late);
  o.observe(message.type, (performance.now() - beganAt) / 1000);
}

/**
 * Moves a message that can never be handled to `dead_letter`. False when somebody else has dealt with it.
 */
export async function buryLocal(
  o: ApplyOptions,
  message: OutboxMessage,
  dead: Omit<Extract<Failure, { kind: 'permanent' }>, 'kind'> & { holdsKey: boolean; attempts: number },
): Promise<boolean> {
  try {
    await o.database.db.transaction(async (tx) => {
      if ((await o.remove(tx, [message])) === 0) throw new LostError();
      await buryMessage(tx, {
        ...dead,
        topic: SELF,
        eventId: message.eventId,
        type: message.type,
        key: message.msgKey,
        body: new TextEncoder().encode(JSON.stringify(envelopeOf(o.service, message))),
        headers: {},
      });
    });
    return true;
  } catch (err) {
    if (err instanceof LostError) return false;
    throw err;
  }
}

/** The default for {@link ApplyOptions.remove}. */
export async function removeHandled(tx: Transaction, messages: readonly OutboxMessage[]): Promise<number> {
  const slots = asArray(new Set(messages.map(({ slot }) => slot)));
  const ids = asArray(messages.map(({ id }) => id));
  const [, removed] = await Promise.all([
    // A plan that was made while the table was small would read all of a long queue.
    runPrepared(tx, 'outbox_local_plan', 'SET LOCAL enable_seqscan = off', []),
    runPrepared(
      tx,
      'outbox_local_remove',
      'DELETE FROM outbox_local WHERE slot = ANY ($1::text::smallint[]) AND id = ANY ($2::text::bigint[])',
      [slots, ids],
    ),
  ]);
  return removed.count;
}
