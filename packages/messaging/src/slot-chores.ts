import { isCanceled, type SlotSession } from './slot-session.ts';

/** Something was committed. */
export interface Nudge {
  /** The table is to be looked at. */
  look: boolean;
  /** It was here, so the owners of other slots are to be told. */
  announce: boolean;
}

/** What the owner of slots does with its session beside reading and handling. */
export interface SlotChores {
  /** Shares the slots with the other sessions, and tells them of commits, where that is due at `now`. */
  share(now: number): Promise<void>;
  /** Counts what waits, where that is due at `now`. */
  measure(now: number): Promise<void>;
  /** When the next of it is due. */
  nextAt(): number;
  /** The slots that are owned and not to be given up. */
  kept(): number[];
}

export interface SlotChoresOptions {
  session: Pick<SlotSession, 'share' | 'release' | 'owned' | 'announce'>;
  nudge: Nudge;
  /** There are new slots. */
  onWon(): void;
  /** The slot is to be given up: nothing more of it is begun. */
  onLeaving(slot: number): void;
  /** Whether nothing of the slot is under way here, so that another may own it. */
  isClear(slot: number): boolean;
  /** The slot is given up: what is known of it is forgotten. */
  onLeft(slot: number): void;
  /** Counts what waits, for the metrics; may be canceled by the server when it takes too long. */
  measure(): Promise<void>;
}

/** How often it is looked who is there to share the slots with, in ms. */
const SHARE_MS = 500;
const MEASURE_MS = 5000;
/** A measurement is so many times its own length apart from the next at least. */
const MEASURE_APART = 50;
/** The other sessions are told of commits at most this often, in ms: a NOTIFY takes a lock of the whole server. */
const ANNOUNCE_MS = 20;

/** By one session, whose owner calls `run` between its other statements. */
export function createSlotChores(o: SlotChoresOptions): SlotChores {
  const { session, nudge } = o;
  /** Slots that others are to have as soon as nothing of them is under way here. */
  const leaving = new Set<number>();
  let shareAt = 0;
  let measureAt = 0;
  let announceAt = 0;

  async function takeAndLeave(): Promise<void> {
    const { won, surplus } = await session.share();
    if (won) o.onWon();
    for (const slot of kept().slice(0, Math.max(0, surplus - leaving.size))) {
      leaving.add(slot);
      o.onLeaving(slot);
    }
  }

  /** Nobody else may own a slot while something of it is under way here. */
  async function giveUp(): Promise<void> {
    const clear = [...leaving].filter(o.isClear);
    for (const slot of clear) {
      leaving.delete(slot);
      o.onLeft(slot);
    }
    if (clear.length > 0) await session.release(clear);
  }

  function kept(): number[] {
    return session.owned().filter((slot) => !leaving.has(slot));
  }

  return {
    kept,

    async share(now) {
      if (now >= shareAt) {
        shareAt = now + SHARE_MS;
        await takeAndLeave();
      }
      if (leaving.size > 0) await giveUp();
      if (nudge.announce && now >= announceAt) {
        nudge.announce = false;
        announceAt = now + ANNOUNCE_MS;
        await session.announce();
      }
    },

    async measure(now) {
      if (now < measureAt) return;
      const askedAt = performance.now();
      try {
        await o.measure();
      } catch (err) {
        if (!isCanceled(err)) throw err; // else the last figures stay
      }
      measureAt = askedAt + Math.max(MEASURE_MS, MEASURE_APART * (performance.now() - askedAt));
    },

    nextAt() {
      return Math.min(shareAt, measureAt, nudge.announce ? announceAt : Number.POSITIVE_INFINITY);
    },
  };
}

/** Every so often all slots are read from their lowest id, in ms. */
const SWEEP_MS = 1000;
/** And so many times its own length apart from the next at least: it passes what was deleted above the floors. */
const SWEEP_SHARE = 20;
/** But no further, in ms: what a person released, or what was committed late, is found by it. */
const SWEEP_AT_MOST_MS = 3000;

/** When to read from the start again, after such a read that took so many ms and ends now. */
export function nextSweepAt(tookMs: number, now: number): number {
  return now + Math.max(SWEEP_MS - tookMs, Math.min(SWEEP_SHARE * tookMs, SWEEP_AT_MOST_MS));
}
