import type { Database } from '@sidecart/kit/db';
import { buryMessage, type DeadMessage } from './bury.ts';
import type { Consumer } from './consumer.ts';
import type { CloudEvent } from './envelope.ts';
import { freshGaps, type Gap, gapsThatAreOver } from './gaps.ts';
import { beginKeyAt, isMissing } from './key-order.ts';
import type { Edge } from './repair-state.ts';
import type { SentOfKey } from './sent-routes.ts';

export interface GapFillingOptions {
  database: Database;
  graceMs: number;
  lostMs: number;
  consumer: Pick<Consumer, 'drain'>;
  hands: <T>(work: () => Promise<T>) => Promise<T>;
  /** Asks the sender. */
  ask: (edge: Edge, question: object) => Promise<SentOfKey>;
  /** Hands messages over; `done` are those that were dealt with. */
  take: (edge: Edge, messages: CloudEvent[]) => Promise<{ done: string[] }>;
  /** What it gives is called before each gap, and keeps the lease. */
  leaseKeeper: (edge: Edge) => () => Promise<void>;
  /** A dead letter was made of a number that is gone for good. */
  onLost: (edge: Edge) => void;
}

const BATCH = 100;
/** Gaps filled side by side. Their handlers share the hands with all that is fetched. */
const ABREAST = 2;
/** After so long, in ms, the rest waits for the next comparison: what is lost meanwhile is to be noticed too. */
const FILL_MS = 3000;

/** Goes over the keys of an edge that wait for a message, and says whether there are more than it had time for. */
export type GapFilling = (edge: Edge, signal: AbortSignal) => Promise<{ more: boolean }>;

export function createGapFilling(o: GapFillingOptions): GapFilling {
  const { database, graceMs, lostMs } = o;
  /** The last key that was gone over, until all were. */
  const reached = new Map<Edge, string>();

  /** Whether there is less to wait for than before. */
  async function fillGap(edge: Edge, { key, from, to, over }: Gap): Promise<boolean> {
    const question = { ask: 'key', key, from: String(from), to: String(to) };
    const { messages, first, unsent } = await o.ask(edge, question);
    const { done } = await o.take(edge, messages);
    const kept = first === null ? to + 1n : BigInt(first);
    // What is not kept may still be on its way: not sent yet, or sent by a version that kept nothing.
    const lost = kept > from && !unsent && over;
    if (lost) {
      const end = kept - 1n < to ? kept - 1n : to;
      // Nothing of this key was ever dealt with here: it begins with what its sender still has.
      if (from === 1n) await database.db.transaction((tx) => beginKeyAt(tx, { ...edge, key, seq: end }));
      else await buryLost(edge, key, from);
    }
    await o.hands(() => o.consumer.drain({ ...edge, key }));
    return lost || done.length > 0;
  }

  /** Unless it came between the question and the answer. */
  async function buryLost(edge: Edge, key: string, seq: bigint): Promise<void> {
    const place = { ...edge, key, seq };
    const dead: DeadMessage = {
      topic: edge.topic,
      eventId: `lost:${edge.sender}:${key}:${seq}`,
      type: undefined,
      key,
      place,
      holdsKey: true,
      reason: 'lost',
      detail: `Message ${seq} of key ${key} never came, and ${edge.sender} has it no more. Discard to go on without it.`,
      body: new Uint8Array(),
      headers: {},
      attempts: 0,
    };
    const buried = await database.db.transaction(
      async (tx) => (await isMissing(tx, place)) && (await buryMessage(tx, dead)),
    );
    if (buried) o.onLost(edge);
  }

  /** As many of them as there is time for, in turn. One that fails leaves the others. */
  async function fill(edge: Edge, some: Gap[], until: number, signal: AbortSignal) {
    const result = { tried: 0, filled: 0, errors: [] as unknown[] };
    const keep = o.leaseKeeper(edge);
    const queue = some.values();
    async function fillInTurn(): Promise<void> {
      for (const gap of queue) {
        result.tried += 1;
        await keep();
        try {
          if (await fillGap(edge, gap)) result.filled += 1;
        } catch (err) {
          result.errors.push(err);
        }
        if (signal.aborted || performance.now() > until) return;
      }
    }
    await Promise.all(Array.from({ length: ABREAST }, fillInTurn));
    return result;
  }

  /** What they wait for may still come by itself, so a batch is enough. */
  async function fillFresh(edge: Edge, signal: AbortSignal): Promise<unknown[]> {
    const some = await freshGaps(database, edge, { graceMs, lostMs }, BATCH);
    return (await fill(edge, some, performance.now() + FILL_MS, signal)).errors;
  }

  /**
   * All that there are, as each can be settled now: a new consumer has one for each key whose beginning its sender keeps no more. Each
   * is gone over once, whatever becomes of it. Where a batch is of no avail, the rest has its turn in the next round.
   */
  async function fillOver(
    edge: Edge,
    signal: AbortSignal,
  ): Promise<{ more: boolean; errors: readonly unknown[] }> {
    const until = performance.now() + FILL_MS;
    const errors: unknown[] = [];
    for (;;) {
      const behind = reached.get(edge) ?? '';
      const some = await gapsThatAreOver(database, edge, { lostMs, behind }, BATCH);
      const result = await fill(edge, some, until, signal);
      errors.push(...result.errors);
      const last = some[result.tried - 1];
      if (!last || (result.tried === some.length && some.length < BATCH)) {
        reached.delete(edge);
        return { more: false, errors };
      }
      reached.set(edge, last.key);
      if (signal.aborted || result.filled === 0) return { more: false, errors };
      if (performance.now() > until) return { more: true, errors };
    }
  }

  return async (edge, signal) => {
    const fresh = await fillFresh(edge, signal);
    if (signal.aborted) return { more: false };
    const { more, errors } = await fillOver(edge, signal);
    const [error] = [...fresh, ...errors];
    if (error) throw error;
    return { more };
  };
}
