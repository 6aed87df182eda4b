/**
 * A slot is read from its floor on, again and again: once through is a sweep. A message may be taken for the next of its key when it has the
 * next number, or when the read has begun at the floor, so that what it shows first of a key is all there is. A read that began further
 * up may miss a lower id that was committed in the meantime.
 *
 * A sweep over many rows that are left out, those of a failing key or behind a dead letter, takes them in steps, so that nothing else of
 * this process waits for it. What its later steps show is doubted, and from then on known to be committed. So is all that the key had
 * before it, as messages of a key commit in the order of their ids: the next sweep passes that first, or it is gone. What was doubted in
 * one sweep is therefore believed in the next, unless something of its key was doubted before it there, or left out for a while.
 */
export interface Sweep {
  /** The next read begins at the floor. */
  begin(): void;
  /** What is shown first of a key, with this id, is the first of it in the table. */
  believes(key: string, id: bigint): boolean;
  /** It is not taken in this sweep. */
  doubt(key: string, id: bigint): void;
  /**
   * Something of the key (or of any, without one) was left out, or dropped from memory, and is not left out any more: what was doubted of it
   * so far is to be doubted once more.
   */
  distrust(key?: string): void;
  /** A read has ended, after so many ms; see `SlotPart`. */
  read(part: { more: boolean; inSteps: boolean }, ms: number): void;
  /** It takes its rows in steps and has not come to the end: another sweep would not come further. */
  isOnItsWay(): boolean;
  /** Something was doubted, so the next sweep is to come soon. */
  hasDoubts(): boolean;
  /** What its reads took so far, in ms, those behind its end not counted. */
  tookMs(): number;
  /** The next sweep begins at least so much later than this one did, in ms, so that a long one is not all that its session does. */
  apartMs(): number;
}

/** So many rows are worth a new sweep at once. */
const DOUBTS_AT_MOST = 100;

/** Two sweeps of a slot begin at least so far apart, in ms, however much is doubted. */
const APART_MS = 20;
/** And so many times their length. */
const APART = 4;

export function createSweep(): Sweep {
  let fromFloor = false;
  let more = false;
  let inSteps = false;
  let tookMs = 0;
  let doubts = new Map<string, Set<bigint>>();
  let doubted = 0;
  let settled = new Map<string, Set<bigint>>();

  return {
    begin() {
      fromFloor = true;
      more = false;
      inSteps = false;
      tookMs = 0;
      settled = doubts;
      doubts = new Map();
      doubted = 0;
    },

    believes: (key, id) => fromFloor || (!doubts.has(key) && (settled.get(key)?.has(id) ?? false)),

    doubt(key, id) {
      const ids = doubts.get(key) ?? new Set();
      doubts.set(key, ids.add(id));
      doubted += 1;
    },

    distrust(key) {
      for (const rows of [settled, doubts]) {
        if (key === undefined) rows.clear();
        else rows.delete(key);
      }
    },

    read(part, ms) {
      if (fromFloor || (inSteps && more)) tookMs += ms;
      fromFloor = false;
      more = part.more;
      if (part.inSteps) inSteps = true;
    },

    isOnItsWay: () => inSteps && more && doubted < DOUBTS_AT_MOST,

    hasDoubts: () => doubted > 0,
    tookMs: () => tookMs,
    apartMs: () => Math.max(APART_MS, APART * tookMs),
  };
}
