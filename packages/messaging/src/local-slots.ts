import { higher } from './floors.ts';
import { createLookBack } from './look-back.ts';
import { UNNUMBERED } from './outbox-insert.ts';
import { backoffMs, type OutboxMessage } from './relay-queue.ts';
import type { SlotPart } from './slot-read.ts';
import { createSweep, DOUBTS_AT_MOST, type Sweep } from './slot-sweep.ts';

/** A key whose next message failed. It is tried again at its time, or when it has its turn, alone in its transaction. */
export interface Trouble {
  key: string;
  failures: number;
  dueAt: number;
  error: string;
}

interface SlotState {
  /** Read and not yet handled, sorted by id. */
  pending: OutboxMessage[];
  /** Messages for the next transaction at most; fewer after one that failed. */
  limit: number;
  busy: boolean;
  /** The highest id read. A hint that saves reading what is in memory or was deleted. */
  after: bigint;
  /** Something may be below that id, or was dropped from memory: read from the start. */
  rewind: boolean;
  rewoundAt: number;
  sweep: Sweep;
  /** By key, the one whose last try is longest ago first. */
  troubles: Map<string, Trouble>;
  /** None of these keys is let in before, so that they do not take the worker's transactions from other slots. */
  restUntil: number;
  /** Nor before others of this slot had it for so long, in ms, if there are any. */
  owed: number;
  /** So many of them are let in the next time. */
  places: number;
  /** Keys that were let in, and doubted in this sweep. */
  doubted: Set<string>;
  /** And in the sweeps before: nobody else is let in until one has come to them. */
  awaited: Set<string>;
  /** So many rows were read since. As many as are doubted at most can be before them; when there are more, nobody waits for them. */
  rowsBefore: number;
  /** To be given up: nothing more of it is begun. */
  isLeaving: boolean;
  /** The table has more than was read. */
  more: boolean;
  /** Read again from here, once: a lower id may have been committed late. */
  lookFrom?: bigint | undefined;
}

/**
 * What a local worker has in memory of its slots, and which messages may be handled next. A slot is in one transaction at a
 * time, its messages in the order of their ids; a key that fails holds up itself alone. Knows nothing of the database. Times
 * are milliseconds of one monotonic clock.
 */
export interface LocalSlots {
  /** Begins a read: for each slot that is to be read, the id above which. The others are read when they are done. */
  wanted(slots: readonly number[], now: number): Map<number, bigint>;
  /** Ends it, after so many ms. True when this ended the trouble of a key: what failed of it is gone. */
  offer(asked: ReadonlyMap<number, bigint>, parts: ReadonlyMap<number, SlotPart>, ms: number): boolean;
  /** Reads every slot from its start next time. */
  rewindAll(): void;
  /** Reads every slot from where it was some seconds ago next time; to be called once a second. */
  lookBack(): void;
  /**
   * The messages for one transaction; their slots are busy from now on. With `hold` there must be enough for a commit of its own:
   * a few messages wait for the transaction under way, and for what comes meanwhile.
   */
  take(hold: boolean): OutboxMessage[] | undefined;
  /**
   * The first so many of what was taken have been handled, in so many ms, of which the handlers took so many. True when this ended the trouble
   * of a key.
   */
  handled(taken: readonly OutboxMessage[], count: number, ms: number, handlersMs?: number): boolean;
  /** Nothing was done because of the n-th: what is before it in its slot is tried again together, then that one alone. */
  split(taken: readonly OutboxMessage[], at: number): void;
  /** The one message that was taken failed, after so many ms; its key waits. */
  failed(message: OutboxMessage, now: number, ms: number, error: string): Trouble;
  /** Some of them were gone: what memory has of their slots is out of date. */
  lost(taken: readonly OutboxMessage[]): void;
  /** The one message that was taken became a dead letter that holds its key, after so many ms. */
  heldBy(message: OutboxMessage, ms: number): void;
  /** How often the message has failed before. */
  failuresOf(message: OutboxMessage): number;
  isBusy(slot: number): boolean;
  /** Takes no more of a slot that is to be given up. */
  leave(slot: number): void;
  /** Forgets a slot that is given up. */
  drop(slot: number): void;
  /** Keys that are left out of the reads. */
  excluded(): string[];
  troubles(): Trouble[];
  /** When something has to be read without anybody saying so; 0 for at once. */
  readAt(): number;
}

/** Messages of one transaction at most. */
const BATCH = 100;
/** So many failing keys of a slot are let in by one sweep, at most, so that a read always has room for others. */
const PLACES = 50;
/** They are tried for so long, in ms, before others have as much of the slot. */
const TRY_MS = 100;
/** But no more than this, in ms: where the worker has little time for the slot, what hung for seconds would wait for minutes. */
const OWED_AT_MOST_MS = 1000;
/** Slots share a transaction, and others are waited for, as long as its handlers take no longer than this, in ms. */
const SMALL_MS = 5;
/** Keys whose last number is remembered. */
const REMEMBERED_KEYS = 20_000;

/** `floorOf`: the slot has no row with this id or a lower one, see `Floors`. */
export function createLocalSlots(floorOf: (slot: number) => bigint = () => 0n): LocalSlots {
  const slots = new Map<number, SlotState>();
  /** The last number of each key that was read. */
  const last = new Map<string, bigint>();
  /** Slots that have something to handle take turns. */
  let turn = -1;
  /** What a message takes lately, in ms. */
  let pace = 1;
  const marks = createLookBack();

  function stateOf(slot: number): SlotState {
    let state = slots.get(slot);
    if (!state) {
      state = {
        pending: [],
        limit: BATCH,
        busy: false,
        after: 0n,
        rewind: true,
        rewoundAt: Number.NEGATIVE_INFINITY,
        sweep: createSweep(),
        troubles: new Map(),
        restUntil: Number.NEGATIVE_INFINITY,
        owed: 0,
        places: 1,
        doubted: new Set(),
        awaited: new Set(),
        rowsBefore: 0,
        isLeaving: false,
        more: false,
      };
      slots.set(slot, state);
    }
    return state;
  }

  function remember(key: string, keySeq: string): void {
    last.delete(key); // to the end: the key that was quiet longest is forgotten first
    last.set(key, BigInt(keySeq));
    if (last.size > REMEMBERED_KEYS) last.delete(last.keys().next().value as string);
  }

  /** What the table has of the key is below what was read: its number must not be believed to be the last one handled. */
  function dropKey(state: SlotState, key: string): void {
    state.pending = state.pending.filter(({ msgKey }) => msgKey !== key);
    last.delete(key);
    state.sweep.distrust(key);
  }

  /** Who else has handled some of it, or will, is not known: no number of it is the last one handled. */
  function dropAll(state: SlotState): void {
    for (const { msgKey } of state.pending) last.delete(msgKey);
    state.pending = [];
  }

  /** What memory has of the slot is read once more, so the last number of a key is the one before. */
  function rewind(state: SlotState, now: number): void {
    if (now >= letInAt(state)) letIn(state, now);
    for (const { msgKey, keySeq } of state.pending.toReversed())
      if (keySeq !== UNNUMBERED) last.set(msgKey, BigInt(keySeq) - 1n);
    state.pending = [];
    state.rewind = false;
    state.rewoundAt = now;
    state.after = 0n;
    const still = [...state.awaited].filter((key) => isLetIn(state, key));
    if (still.length === 0) state.rowsBefore = 0;
    state.awaited = new Set([...still, ...state.doubted]);
    state.doubted = new Set();
    state.sweep.begin();
  }

  /** When the slot is to be read from its start: not while it is on its way to the end, which it would never reach. */
  function rewindAt(state: SlotState): number {
    if (state.sweep.isOnItsWay()) return Number.POSITIVE_INFINITY;
    const wantedAt = state.rewind ? Number.NEGATIVE_INFINITY : letInAt(state);
    return Math.max(wantedAt, state.rewoundAt + state.sweep.apartMs());
  }

  /**
   * When a failing key may be let in. Not while memory has one of those that were let in before, nor together with one whose next message was doubted:
   * what is met before it may hang and have it left out again, and so each time.
   */
  function letInAt(state: SlotState): number {
    const { pending, troubles, restUntil } = state;
    if (troubles.size === 0 || isAwaited(state)) return Number.POSITIVE_INFINITY;
    if (state.owed > 0 && hasOthers(state)) return Number.POSITIVE_INFINITY;
    if (pending.some(({ msgKey }) => troubles.has(msgKey))) return Number.POSITIVE_INFINITY;
    let soonest = Number.POSITIVE_INFINITY;
    for (const trouble of troubles.values())
      if (isLeftOut(trouble)) soonest = Math.min(soonest, trouble.dueAt);
    return Math.max(soonest, restUntil);
  }

  /** Not those that were tried meanwhile, or are left out again. */
  function isAwaited(state: SlotState): boolean {
    return [...state.doubted, ...state.awaited].some((key) => isLetIn(state, key));
  }

  /** Messages of keys that do not fail, as far as is known. */
  function hasOthers({ pending, troubles, more }: SlotState): boolean {
    return more || pending.some(({ msgKey }) => !troubles.has(msgKey));
  }

  /**
   * Keys whose time has come are read again, from the start because they are below what was read: further up a read would show what comes behind
   * their first message. One that is not met, as its rows are gone or far behind, takes nobody's place the next time.
   */
  function letIn(state: SlotState, now: number): void {
    state.owed = 0;
    const due = [...state.troubles.values()].filter((trouble) => isLeftOut(trouble) && trouble.dueAt <= now);
    for (const trouble of due.slice(0, state.places)) trouble.dueAt = Number.NEGATIVE_INFINITY;
    state.places = Math.min(PLACES, 2 * state.places);
  }

  /**
   * A key took so many ms to fail again, so the others are to be handled for as long; that so much time has passed is not enough, as the slot may have
   * waited for a transaction all the while. When it is their turn, those let in that were not tried yet are left out again. Without this a hundred keys
   * that fail slowly are due anew when the last of them was tried, and nothing behind them is ever read. Then the one that waits longest is let in
   * alone: of several that with the lowest id is tried first, and the highest might never be.
   */
  function rest(state: SlotState, now: number, ms: number): void {
    state.restUntil = Math.max(state.restUntil, now - ms) + 2 * ms;
    state.owed = Math.min(state.owed + ms, OWED_AT_MOST_MS);
    if (state.owed < TRY_MS) return;
    state.places = 1;
    const read = new Set(state.pending.map(({ msgKey }) => msgKey));
    for (const trouble of state.troubles.values()) {
      if (isLeftOut(trouble)) continue;
      trouble.dueAt = now;
      if (read.has(trouble.key)) dropKey(state, trouble.key);
    }
  }

  /** Others had the slot for so long. */
  function pay(state: SlotState, ms: number): void {
    state.owed = Math.max(0, state.owed - ms);
  }

  /** The slot was read to its end: what was let in and not met is gone, unless it is doubted. True when there was any. */
  function forgetGone(state: SlotState): boolean {
    if (state.troubles.size === 0 || state.doubted.size > 0) return false;
    const read = new Set(state.pending.map(({ msgKey }) => msgKey));
    const gone = [...state.troubles.values()].filter(
      (trouble) => !isLeftOut(trouble) && !read.has(trouble.key),
    );
    for (const { key } of gone) state.troubles.delete(key);
    return gone.length > 0;
  }

  /** The messages of a slot that may share a transaction; the first one of a key that failed is alone in its own. */
  function nextOf({ pending, limit, troubles }: SlotState): OutboxMessage[] {
    const failing = troubles.size === 0 ? -1 : pending.findIndex(({ msgKey }) => troubles.has(msgKey));
    return pending.slice(0, failing === -1 ? limit : Math.min(limit, Math.max(1, failing)));
  }

  const failuresOf = ({ slot, msgKey }: OutboxMessage) => stateOf(slot).troubles.get(msgKey)?.failures ?? 0;

  const troubles = () => [...slots.values()].flatMap((state) => [...state.troubles.values()]);

  return {
    failuresOf,

    wanted(owned, now) {
      const asked = new Map<number, bigint>();
      for (const slot of owned) {
        const state = stateOf(slot);
        if (state.busy) {
          state.more = true;
          continue;
        }
        if (now >= rewindAt(state)) rewind(state, now);
        if (state.pending.length > 0) {
          state.more = true;
          continue;
        }
        if (state.sweep.isSated()) continue;
        const from =
          state.lookFrom !== undefined && state.lookFrom < state.after ? state.lookFrom : state.after;
        asked.set(slot, higher(from, floorOf(slot)));
        state.lookFrom = undefined;
      }
      return asked;
    },

    offer(asked, parts, ms) {
      let ended = false;
      for (const [slot, part] of parts) {
        const state = stateOf(slot);
        const { sweep } = state;
        const fromFloor = asked.get(slot) === floorOf(slot);
        for (const row of part.rows) {
          if (row.keySeq !== UNNUMBERED) {
            const isNext = BigInt(row.keySeq) === (last.get(row.msgKey) ?? 0n) + 1n;
            if (!isNext && !fromFloor && !sweep.believes(row.msgKey, row.id)) {
              if (state.troubles.has(row.msgKey)) state.doubted.add(row.msgKey);
              sweep.doubt(row.msgKey, row.id);
              state.rewind = true;
              continue;
            }
            remember(row.msgKey, row.keySeq);
          }
          state.pending.push(row);
        }
        sweep.read(part, ms);
        if (part.to > state.after) state.after = part.to;
        state.more = part.more;
        state.rowsBefore += part.rows.length;
        if (state.rowsBefore > DOUBTS_AT_MOST) state.awaited.clear();
        if (!part.more && forgetGone(state)) ended = true;
      }
      return ended;
    },

    lookBack() {
      const now = new Map([...slots].map(([slot, { after }]) => [slot, after]));
      for (const [slot, id] of marks.tick(now)) stateOf(slot).lookFrom = id;
    },

    rewindAll() {
      for (const state of slots.values()) state.rewind = true;
    },

    take(hold) {
      const ready = [...slots]
        .filter(([, { busy, isLeaving, pending }]) => !busy && !isLeaving && pending.length > 0)
        .sort(([a], [b]) => a - b); // in the order in which they were won one that is full could keep its turn for ever
      const small = Math.max(1, Math.floor(SMALL_MS / pace));
      if (hold && ready.reduce((n, [, { pending }]) => n + pending.length, 0) < small) return undefined;
      const after = Math.max(
        0,
        ready.findIndex(([slot]) => slot > turn),
      );
      const taken: OutboxMessage[] = [];
      for (const [slot, state] of [...ready.slice(after), ...ready.slice(0, after)]) {
        const messages = nextOf(state);
        const alone = state.limit < BATCH || state.troubles.has(state.pending[0]?.msgKey ?? '');
        if (taken.length > 0 && (alone || taken.length + messages.length > Math.min(BATCH, small))) continue;
        if (taken.length === 0) turn = slot; // those that fit beside it are before one that has to wait for a turn of its own
        state.busy = true;
        taken.push(...messages);
        if (alone) break;
      }
      return taken.length > 0 ? taken : undefined;
    },

    handled(taken, count, ms, handlersMs = ms) {
      const done = new Set(taken.slice(0, count));
      for (const [slot, messages] of bySlot(taken)) {
        const state = stateOf(slot);
        state.busy = false;
        state.limit = BATCH;
        const ended = messages.filter((message) => done.has(message)).length;
        if (ended > 0) pay(state, ms);
        state.pending.splice(0, ended);
      }
      if (count > 0) pace = Math.max(0.01, 0.8 * pace + (0.2 * handlersMs) / count);
      return [...done].map(({ slot, msgKey }) => stateOf(slot).troubles.delete(msgKey)).includes(true);
    },

    split(taken, at) {
      const failed = taken[at];
      for (const [slot, messages] of bySlot(taken)) {
        const state = stateOf(slot);
        state.busy = false;
        // The transaction itself failed: which of them it was is found by halving.
        if (!failed) state.limit = Math.max(1, Math.floor(messages.length / 2));
        else if (failed.slot === slot) state.limit = Math.max(1, messages.indexOf(failed));
      }
    },

    failed(message, now, ms, error) {
      const state = stateOf(message.slot);
      state.busy = false;
      state.limit = BATCH;
      dropKey(state, message.msgKey);
      const failures = failuresOf(message) + 1;
      const dueAt = now + backoffMs(failures);
      const trouble = { key: message.msgKey, failures, dueAt, error };
      state.troubles.delete(message.msgKey); // to the end: others are tried before it
      state.troubles.set(message.msgKey, trouble);
      // The first time it was one of the others; what hung once is tried again soon.
      if (failures > 1) rest(state, now, ms);
      else pay(state, ms);
      return trouble;
    },

    lost(taken) {
      for (const slot of bySlot(taken).keys()) {
        const state = stateOf(slot);
        state.busy = false;
        state.limit = BATCH;
        dropAll(state);
        // What was read was not handled, so the next read has to begin at the start, however soon it comes: above, a later message
        // of a key would be taken for the next.
        state.after = 0n;
        state.sweep.begin();
      }
    },

    heldBy(message, ms) {
      const state = stateOf(message.slot);
      state.busy = false;
      state.limit = BATCH;
      pay(state, ms);
      dropKey(state, message.msgKey);
      state.troubles.delete(message.msgKey);
    },

    isBusy: (slot) => slots.get(slot)?.busy ?? false,

    leave(slot) {
      stateOf(slot).isLeaving = true;
    },

    drop(slot) {
      dropAll(stateOf(slot));
      slots.delete(slot);
    },

    excluded: () =>
      troubles()
        .filter(isLeftOut)
        .map(({ key }) => key),

    troubles,

    readAt() {
      let soonest = Number.POSITIVE_INFINITY;
      for (const state of slots.values()) {
        if (state.busy) continue;
        soonest = Math.min(soonest, rewindAt(state));
        const isWanted = state.more || state.lookFrom !== undefined;
        if (isWanted && state.pending.length === 0 && !state.sweep.isSated()) return 0;
      }
      return soonest;
    },
  };
}

/** Until it is let in. */
function isLeftOut({ dueAt }: Trouble): boolean {
  return dueAt !== Number.NEGATIVE_INFINITY;
}

function isLetIn({ troubles }: SlotState, key: string): boolean {
  const trouble = troubles.get(key);
  return trouble !== undefined && !isLeftOut(trouble);
}

function bySlot(messages: readonly OutboxMessage[]): Map<number, OutboxMessage[]> {
  return Map.groupBy(messages, ({ slot }) => slot);
}
