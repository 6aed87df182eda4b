import type { Planned } from '../cells/rounds.ts';
import { BARE_LOOP, type CellJob, OWN, OWN_ALONE, PEER, RAW, RAW_ALONE, UNDISTURBED } from './cell.ts';

export interface Settings {
  rounds: number;
  /** Of each cell that is measured for a time. */
  seconds: number;
  /** Events of the rebuild. */
  events: number;
  /** Streams that are condensed, one after the other. */
  streams: number;
}

/** What is asked of a cell; where its database is it gets told when that is made. */
export type Job = WithoutUrl<CellJob>;
type WithoutUrl<J> = J extends CellJob ? Omit<J, 'url'> : never;

export interface PlannedCell extends Planned {
  group: Group;
  job(arm: string): Job;
}

export const GROUPS = ['append', 'load', 'rebuild', 'condense'] as const;
export type Group = (typeof GROUPS)[number];

export const APPENDS = [1, 10].flatMap((events) =>
  [1, 8, 16].map((writers) => ({
    cell: `${events} ${events > 1 ? 'events' : 'event'}, ${writers} ${writers > 1 ? 'writers' : 'writer'}`,
    events,
    writers,
  })),
);

const LENGTHS = [10, 100, 1000, 10_000];
const loadCell = (length: number, snapshot: boolean) => ({
  cell: `${length.toLocaleString('en')} events${snapshot ? ', snapshot' : ''}`,
  length,
  snapshot,
});
/** A snapshot is 50 to 100 events behind, so a stream of 10 has none. */
export const LOADS = LENGTHS.flatMap((length) => [
  loadCell(length, false),
  ...(length > 10 ? [loadCell(length, true)] : []),
]);
/** What the goal compares. */
export const LONG_WITH_SNAPSHOT = loadCell(10_000, true).cell;
export const SHORT_WITHOUT = loadCell(100, false).cell;

export const REBUILD = 'rebuild';
/** So few that the peer ends within the time of a cell. */
export const FEW = 10_000;
export const REBUILD_FEW = `rebuild of ${FEW.toLocaleString('en')}`;

export const CONDENSE = 'condensing 10,000 events';

/** All cells of a run, in their order. */
export function planOf(s: Settings): PlannedCell[] {
  const ms = s.seconds * 1000;
  return [
    ...APPENDS.map(
      ({ cell, events, writers }): PlannedCell => ({
        cell,
        group: 'append',
        arms: [OWN, OWN_ALONE, PEER, RAW, RAW_ALONE],
        job: (arm) => ({ kind: 'append', arm, events, writers, ms }),
      }),
    ),
    ...LOADS.map(
      ({ cell, length, snapshot }): PlannedCell => ({
        cell,
        group: 'load',
        // The peer has no snapshots.
        arms: snapshot ? [OWN, RAW] : [OWN, PEER, RAW],
        job: (arm) => ({ kind: 'load', arm, length, snapshot, ms }),
      }),
    ),
    rebuildCell(REBUILD, [OWN, BARE_LOOP], s.events),
    rebuildCell(REBUILD_FEW, [OWN, PEER, BARE_LOOP], FEW),
    {
      cell: CONDENSE,
      group: 'condense',
      arms: [OWN, UNDISTURBED],
      job: (arm) => ({ kind: 'condense', arm, length: 10_000, streams: s.streams }),
    },
  ];
}

function rebuildCell(cell: string, arms: string[], events: number): PlannedCell {
  return { cell, group: 'rebuild', arms, job: (arm) => ({ kind: 'rebuild', arm, events }) };
}
