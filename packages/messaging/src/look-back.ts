/**
 * Where a reader of a queue was a while ago, per slot. A row with a lower id than what was read may be committed late; most of
 * them soon, as ids are taken right before a commit. So every second the reader looks again from where it was some seconds ago,
 * which passes only the rows that were deleted since. What comes later still is found by a sweep from the start, which passes all that no
 * vacuum has removed yet and is therefore rarer the longer it takes.
 */
export interface LookBack {
  /** Notes where the reader is, once a second; the ids to read from again, for slots that have moved since. */
  tick(after: ReadonlyMap<number, bigint>): Map<number, bigint>;
}

export const LOOK_BACK_MS = 1000;
/** Ticks to look back. */
const DEPTH = 3;

export function createLookBack(): LookBack {
  const marks: ReadonlyMap<number, bigint>[] = [];
  return {
    tick(after) {
      marks.push(new Map(after));
      const [old] = marks.length > DEPTH ? marks.splice(0, 1) : marks;
      // A slot that was read from its start meanwhile may be behind its mark.
      return new Map([...(old ?? [])].filter(([slot, id]) => id < (after.get(slot) ?? 0n)));
    },
  };
}
