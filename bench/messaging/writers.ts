import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '@sidecart/kit/seeded-random';
import { now } from '../machine.ts';
import type { Ledger, Message } from './ledger.ts';
import { paddedMessage } from './payload.ts';
import { createTurns } from './turns.ts';
import { zipf } from './zipf.ts';

/** Keys of the cells that ask for order, drawn by Zipf's law. */
const ORDERED_KEYS = 100;
/** Keys of the others, all alike. */
const UNORDERED_KEYS = 10_000;

/** Of messages that lie there before the others are written. */
export const LONG_KEY = 'long';
const LONG_KEY_BATCH = 1000;

export interface WritingOptions {
  ledger: Ledger;
  ordered: boolean;
  perTransaction: number;
  /** One business transaction. */
  write: (messages: Message[]) => Promise<void>;
  seed?: number;
  /** Where a message's time begins; `begin` for a write that has no commit. Default `commit`. */
  timedFrom?: 'begin' | 'commit';
}

/** What writes a cell's messages and enters them in its ledger. */
export interface Writing {
  /** One transaction of so many messages, else as many as the cell says. */
  transaction(messages?: number): Promise<void>;
  /** So many messages of one key that the others do not have, {@link LONG_KEY}. */
  longKey(messages: number): Promise<void>;
  /**
   * Transactions one after the other in each of so many writers, until told to stop; a writer waits while `window`
   * messages are written and not handled, so that a slow arm is not measured with a backlog that grows without end.
   */
  closedLoop(o: { writers: number; window: number; stop: AbortSignal }): Promise<void>;
  /** Transactions begun at a steady rate, whether or not the earlier ones are done. */
  paced(o: { perSecond: number; stop: AbortSignal }): Promise<void>;
}

export function createWriting(o: WritingOptions): Writing {
  const random = seededRandom(o.seed ?? 1);
  const hot = zipf(ORDERED_KEYS, random);
  const nextKey = () => `key-${o.ordered ? hot() : Math.floor(random() * UNORDERED_KEYS)}`;
  const turns = createTurns();
  const lastOfKey = new Map<string, number>();
  let n = 0;

  async function transaction(count = o.perTransaction, keyOf = nextKey): Promise<void> {
    const keys = Array.from({ length: count }, keyOf);
    const done = o.ordered ? await turns.take(keys) : () => {};
    const messages = keys.map((key) => paddedMessage(n++, key, o.ordered ? numbered(key) : 0));
    o.ledger.begun(messages);
    const begunAt = now();
    try {
      await o.write(messages);
      o.ledger.committed(messages, o.timedFrom === 'begin' ? begunAt : now());
    } finally {
      done();
    }
  }

  function numbered(key: string): number {
    const seq = (lastOfKey.get(key) ?? 0) + 1;
    lastOfKey.set(key, seq);
    return seq;
  }

  return {
    transaction: (messages) => transaction(messages),
    async longKey(messages) {
      for (let left = messages; left > 0; left -= LONG_KEY_BATCH)
        await transaction(Math.min(left, LONG_KEY_BATCH), () => LONG_KEY);
    },
    async closedLoop({ writers, window, stop }) {
      const writer = async () => {
        for (;;) {
          await o.ledger.below(window, stop);
          if (stop.aborted) return;
          await transaction();
        }
      };
      await Promise.all(Array.from({ length: writers }, writer));
    },
    async paced({ perSecond, stop }) {
      const everyMs = (1000 * o.perTransaction) / perSecond;
      const running = new Set<Promise<void>>();
      let failure: unknown;
      for (let at = now(); !stop.aborted && failure === undefined; at += everyMs) {
        const early = at - now();
        // A timer may be late by a millisecond; what was missed meanwhile is begun at once.
        if (early > 1) await sleep(early);
        const one = transaction()
          .catch((err: unknown) => {
            failure = err;
          })
          .finally(() => running.delete(one));
        running.add(one);
      }
      await Promise.all(running);
      if (failure !== undefined) throw failure;
    },
  };
}
