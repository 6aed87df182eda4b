import { atLeast, type Goal, judged, paired, roundsOf, share } from '../cells/figures.ts';
import type { Result } from '../cells/results.ts';
import { BARE_LOOP, OWN, OWN_ALONE, PEER, RAW, RAW_ALONE } from './cell.ts';
import { APPENDS, CONDENSE, LONG_WITH_SNAPSHOT, REBUILD, SHORT_WITHOUT } from './plan.ts';

/** What a load takes at the mean, ms. */
const eachMs = ({ count, seconds }: Result) => (seconds / count) * 1000;
const p99 = ({ latencies }: Result) => latencies?.p99 ?? Number.NaN;

/** The goals of the project for its event store, each with what was measured. */
export function goalsOf(results: readonly Result[]): Goal[] {
  const of = (cell: string, arm: string, figure?: (result: Result) => number) =>
    roundsOf(results, cell, arm, figure);
  const ofRaw = (how: string, own: string, raw: string) =>
    APPENDS.map(({ cell }) => atLeast(`append, ${how}, ${cell}: of raw`, of(cell, own), of(cell, raw), 0.7));
  const ofPeer = (how: string, own: string) =>
    APPENDS.map(({ cell }) =>
      atLeast(`append, ${how}, ${cell}: of emmett`, of(cell, own), of(cell, PEER), 2),
    );
  const times = paired(of(LONG_WITH_SNAPSHOT, OWN, eachMs), of(SHORT_WITHOUT, OWN, eachMs), share);
  return [
    // A call of the peer's appends and does nothing else, as ours by itself, though it takes a transaction for that. Services append in one.
    ...ofPeer('by itself', OWN_ALONE),
    ...ofPeer('in a transaction', OWN),
    ...ofRaw('by itself', OWN_ALONE, RAW_ALONE),
    ...ofRaw('in a transaction', OWN, RAW),
    judged(
      `load of ${LONG_WITH_SNAPSHOT}: of the time of ${SHORT_WITHOUT} without`,
      'at most 2',
      times,
      ' x',
      (value) => value <= 2,
    ),
    atLeast('rebuild: of the bare loop', of(REBUILD, OWN), of(REBUILD, BARE_LOOP), 0.7),
    judged(
      `${CONDENSE}: the longest append of each stream, p99`,
      'at most 50 ms',
      [...of(CONDENSE, OWN, p99).values()],
      ' ms',
      (value) => value <= 50,
    ),
  ];
}
