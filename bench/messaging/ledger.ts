import type { Faults } from '../cells/outcome.ts';

/** One message of a cell. Messages are numbered from 0 in the order in which writing them began. */
export interface Message {
  n: number;
  key: string;
  /** 1, 2, 3 per key, in the order of the commits; 0 where a cell asks for no order. */
  seq: number;
  /** Makes the payload as long as it shall be. */
  filler: string;
}

/** Every message of one cell, from its commit to its effect. Times are milliseconds of the machine's monotonic clock. */
export interface Ledger {
  /** The messages are about to be written, in one transaction. */
  begun(messages: readonly Message[]): void;
  committed(messages: readonly Message[], at: number): void;
  /** The transaction was rolled back: none of it may have an effect. */
  rolledBack(messages: readonly Message[]): void;
  /** A handler had the message. */
  handled(message: Pick<Message, 'n' | 'key' | 'seq'>, at: number): void;
  /** Begun and neither handled nor rolled back. */
  outstanding(): number;
  /** Resolves when fewer than so many are outstanding, or when `stop` says so. */
  below(count: number, stop: AbortSignal): Promise<void>;
  /** Of those committed within the bounds. */
  unhandled(from: number, until: number): number;
  /** Messages that were handled at least once. */
  handledCount(): number;
  /** Of those handled within the bounds. */
  handledBetween(from: number, until: number): number;
  /** The longest time within the bounds in which nothing was handled, ms. */
  longestPause(from: number, until: number): number;
  committedCount(): number;
  /** From commit to effect, of those committed within the bounds. An effect that the writer hears of before its own commit took 0 ms. */
  latencies(from: number, until: number): number[];
  /** `waiting` is what the arm still has in its tables: a slow arm need not finish, but must lose nothing. */
  verdict(waiting: number): Faults;
}

type State = 'begun' | 'committed' | 'rolled back';

export function createLedger(o: { ordered: boolean }): Ledger {
  const state: State[] = [];
  const committedAt: number[] = [];
  const handledAt: number[] = [];
  const times: number[] = [];
  const lastOfKey = new Map<string, number>();
  let [begun, rolledBack, committed, seen, strangers, disorder] = [0, 0, 0, 0, 0, 0];
  let waiters: { count: number; go: () => void }[] = [];

  const outstanding = () => begun - rolledBack - seen;

  function letGo(): void {
    const released = waiters.filter(({ count }) => outstanding() < count);
    if (released.length === 0) return;
    waiters = waiters.filter((waiter) => !released.includes(waiter));
    for (const { go } of released) go();
  }

  return {
    begun(messages) {
      for (const { n } of messages) state[n] = 'begun';
      begun += messages.length;
    },
    committed(messages, at) {
      for (const { n } of messages) {
        state[n] = 'committed';
        committedAt[n] = at;
      }
      committed += messages.length;
    },
    rolledBack(messages) {
      for (const { n } of messages) state[n] = 'rolled back';
      rolledBack += messages.length;
      letGo();
    },
    handled({ n, key, seq }, at) {
      if (state[n] === undefined) strangers += 1;
      times[n] = (times[n] ?? 0) + 1;
      if (times[n] > 1) return;
      seen += 1;
      handledAt[n] = at;
      if (waiters.length > 0) letGo();
      if (!o.ordered) return;
      if (seq !== (lastOfKey.get(key) ?? 0) + 1) disorder += 1;
      lastOfKey.set(key, Math.max(seq, lastOfKey.get(key) ?? 0));
    },
    outstanding,
    below(count, stop) {
      if (stop.aborted || outstanding() < count) return Promise.resolve();
      return new Promise((resolve) => {
        const go = () => {
          stop.removeEventListener('abort', go);
          resolve();
        };
        stop.addEventListener('abort', go);
        waiters.push({ count, go });
      });
    },
    unhandled: (from, until) =>
      committedAt.filter((at, n) => at >= from && at < until && handledAt[n] === undefined).length,
    handledCount: () => seen,
    handledBetween: (from, until) => handledAt.filter((at) => at >= from && at < until).length,
    longestPause(from, until) {
      const times = handledAt.filter((at) => at >= from && at < until).sort((a, b) => a - b);
      return [...times, until].reduce(
        ({ last, longest }, at) => ({ last: at, longest: Math.max(longest, at - last) }),
        { last: from, longest: 0 },
      ).longest;
    },
    committedCount: () => committed,
    latencies(from, until) {
      const found: number[] = [];
      committedAt.forEach((at, n) => {
        const end = handledAt[n];
        if (at >= from && at < until && end !== undefined) found.push(Math.max(0, end - at));
      });
      return found;
    },
    verdict(waiting) {
      let [twice, undone, open] = [0, 0, 0];
      for (let n = 0; n < state.length; n += 1) {
        if ((times[n] ?? 0) > 1) twice += 1;
        if (state[n] === 'rolled back' && times[n] !== undefined) undone += 1;
        if (state[n] === 'begun') open += 1;
      }
      const missing = committed - seen;
      const faults: [number, string][] = [
        [
          missing === waiting ? 0 : Math.abs(missing - waiting),
          missing > waiting ? 'lost' : 'handled and still waiting',
        ],
        [twice, 'with more than one effect'],
        [undone, 'of a transaction that was rolled back'],
        [open, 'of which nobody knows whether they were committed'],
        [strangers, 'that nobody wrote'],
        [disorder, 'out of the order of their key'],
      ];
      return faults.filter(([count]) => count > 0).map(([count, what]) => `${count} messages ${what}`);
    },
  };
}
