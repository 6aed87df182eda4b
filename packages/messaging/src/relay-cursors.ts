import { higher } from './floors.ts';
import { createLookBack } from './look-back.ts';
import type { Beliefs, OutboxMessage } from './relay-queue.ts';
import { nextSweepAt } from './slot-chores.ts';
import type { SlotPart } from './slot-read.ts';
import { createSweep, type Sweep } from './slot-sweep.ts';

/** How far a relay has read each of its slots, and when it reads one from its floor again. Times are milliseconds of one monotonic clock. */
export interface RelayCursors extends Beliefs {
  /** Begins a read of these slots: the id behind which, for each that is to be read. */
  begin(slots: readonly number[], now: number): Map<number, bigint>;
  /** Ends it, after so many ms, when its rows have been offered. */
  end(parts: ReadonlyMap<number, SlotPart>, tookMs: number, now: number): void;
  /** Reads each slot from its floor, as soon as a sweep may begin, for what was left out: all of these topics, and keys of others. */
  rewind(topics: readonly string[]): void;
  /** Reads each slot from where it was some seconds ago next time; to be called once a second. */
  lookBack(): void;
  /** Those of these slots whose reads are passing what is left out. */
  onTheirWay(slots: readonly number[]): number[];
  /** When the first of these slots is to be read from its floor. */
  sweepAt(slots: readonly number[]): number;
}

interface Cursor {
  /** A hint that saves reading what is in memory or was deleted. */
  after: bigint;
  /** Up to here rows were passed that are left out, in this sweep. Looking back does not pass them again, the next sweep does. */
  passedTo: bigint;
  sweep: Sweep;
  beganAt: number;
  /** Something was left out and is not any more: the next one shall come as soon as it may. */
  isWanted: boolean;
  /** When the next sweep begins; infinite until it is known how long this one takes. */
  sweepAt: number;
}

/** `floorOf`: the slot has no row with this id or a lower one, see `Floors`. */
export function createRelayCursors(floorOf: (slot: number) => bigint): RelayCursors {
  const cursors = new Map<number, Cursor>();
  const marks = createLookBack();

  function cursorOf(slot: number): Cursor {
    let cursor = cursors.get(slot);
    if (!cursor) {
      cursor = { after: 0n, passedTo: 0n, sweep: createSweep(), beganAt: 0, isWanted: false, sweepAt: 0 };
      cursors.set(slot, cursor);
    }
    return cursor;
  }

  function sweepAgain(cursor: Cursor, now: number): void {
    cursor.sweep.begin();
    cursor.after = 0n;
    cursor.passedTo = 0n;
    cursor.beganAt = now;
    cursor.isWanted = false;
    cursor.sweepAt = Number.POSITIVE_INFINITY;
  }

  return {
    begin(slots, now) {
      const after = new Map<number, bigint>();
      for (const slot of slots) {
        const cursor = cursorOf(slot);
        if (now >= cursor.sweepAt && !cursor.sweep.isOnItsWay()) sweepAgain(cursor, now);
        if (!cursor.sweep.isSated()) after.set(slot, higher(cursor.after, floorOf(slot)));
      }
      return after;
    },

    believes: (row) => cursorOf(row.slot).sweep.believes(keyOf(row), row.id),

    doubt(row) {
      cursorOf(row.slot).sweep.doubt(keyOf(row), row.id);
    },

    end(parts, tookMs, now) {
      for (const [slot, part] of parts) {
        const cursor = cursorOf(slot);
        cursor.after = part.to;
        if (part.inSteps) cursor.passedTo = part.to;
        const { sweep } = cursor;
        sweep.read(part, tookMs);
        if (sweep.isOnItsWay()) continue;
        if (cursor.sweepAt === Number.POSITIVE_INFINITY)
          cursor.sweepAt = Math.max(nextSweepAt(sweep.tookMs(), now), soonestOf(cursor));
        if (sweep.hasDoubts() || cursor.isWanted)
          cursor.sweepAt = Math.min(cursor.sweepAt, soonestOf(cursor));
      }
    },

    rewind(topics) {
      const isOfThem = (key: string) => topics.includes(topicIn(key));
      for (const cursor of cursors.values()) {
        cursor.sweep.distrustThose(isOfThem);
        cursor.isWanted = true;
        if (!cursor.sweep.isOnItsWay()) cursor.sweepAt = Math.min(cursor.sweepAt, soonestOf(cursor));
      }
    },

    distrust(message) {
      cursorOf(message.slot).sweep.distrust(keyOf(message));
    },

    lookBack() {
      const now = new Map([...cursors].map(([slot, { after }]) => [slot, after]));
      for (const [slot, id] of marks.tick(now)) {
        const cursor = cursorOf(slot);
        if (!cursor.sweep.isOnItsWay()) cursor.after = higher(id, cursor.passedTo);
      }
    },

    onTheirWay: (slots) => slots.filter((slot) => cursorOf(slot).sweep.isOnItsWay()),

    sweepAt: (slots) => Math.min(...slots.map((slot) => cursorOf(slot).sweepAt)),

    drop(slot) {
      cursors.delete(slot);
    },
  };
}

function soonestOf({ beganAt, sweep }: Cursor): number {
  return beganAt + sweep.apartMs();
}

function keyOf({ topic, msgKey }: OutboxMessage): string {
  return `${topic} ${msgKey}`;
}

/** A topic has no space in it. */
function topicIn(key: string): string {
  return key.slice(0, key.indexOf(' '));
}
