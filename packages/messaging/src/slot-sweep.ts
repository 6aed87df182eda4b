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
  /** Something of the key was left out, or dropped from memory, and is not left out any more: what was doubted of it so far is to be doubted once more. */
  distrust(key: string): void;
  /** The same of all these keys. */
  distrustThose(are: (key: string) => boolean): void;
  /** A read has ended, after so many ms; see `SlotPart`. */
  read(part: { inSteps: boolean }, ms: number): void;
  /**
   * It is passing what is left out, and has not come to the next row that is not: another sweep would not come further. Once it has, another one
   * may begin although there is more, or what is below would have to wait until all of a backlog is done.
   */
  isOnItsWay(): boolean;
  /** No more is to be read before the next sweep, as all that is doubted is in memory. */
  isSated(): boolean;
  /** Something was doubted, so the next sweep is to come soon. */
  hasDoubts(): boolean;
  /** What its reads took that passed what is left out, with the one from the floor and those that ended a step, in ms. */
  tookMs(): number;
  /** The next sweep begins at least so much later than this one did, in ms, so that a long one is not all that its session does. */
  apartMs(): number;
}

/** So many rows that are doubted are worth a new sweep at once. */
const WORTH_A_SWEEP = 100;
/** So many are kept in memory, and as many of the sweep before. */
export const DOUBTS_AT_MOST = 2000;

/** Two sweeps of a slot begin at least so far apart, in ms, however much is doubted. */
const APART_MS = 20;
/** And so many times the length of the first, but no more than so many ms from its end to the next: what waits for that one is late. */
const APART = 4;
const PAUSE_AT_MOST_MS = 10_000;

export function createSweep(): Sweep {
  let fromFloor = false;
  /** The last read was a step that came to its end. */
  let inSteps = false;
  let tookMs = 0;
  let doubts = new Map<string, Set<bigint>>();
  let doubted = 0;
  let settled = new Map<string, Set<bigint>>();

  return {
    begin() {
      fromFloor = true;
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
      settled.delete(key);
      doubts.delete(key);
    },

    distrustThose(are) {
      for (const rows of [settled, doubts]) for (const key of rows.keys()) if (are(key)) rows.delete(key);
    },

    read(part, ms) {
      if (fromFloor || inSteps) tookMs += ms;
      fromFloor = false;
      inSteps = part.inSteps;
    },

    isOnItsWay: () => inSteps && doubted < WORTH_A_SWEEP,
    isSated: () => doubted >= DOUBTS_AT_MOST,

    hasDoubts: () => doubted > 0,
    tookMs: () => tookMs,
    apartMs: () => Math.max(APART_MS, tookMs + Math.min((APART - 1) * tookMs, PAUSE_AT_MOST_MS)),
  };
}
