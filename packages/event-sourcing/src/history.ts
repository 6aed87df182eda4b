import type { Database, Executor } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { type AnyAggregate, CONDENSED } from './aggregate.ts';
import { type ArchiveStore, archivesOf, linesOf, positioned } from './archive.ts';
import type { Tagged } from './decider.ts';
import { foldRows } from './load.ts';
import type { RecordedEvent } from './projection.ts';
import { POSITIONED, type PositionedRow, toRecorded } from './reader.ts';

export interface HistoryDeps {
  database: Database;
  aggregate: AnyAggregate;
  archive: ArchiveStore;
}

/**
 * Everything that happened to a thing, with who, why, which request and trace; what was condensed comes from the archive.
 *
 * @throws ArchiveUnavailableError when that cannot be read.
 */
export async function readHistory<Event extends Tagged>(
  o: HistoryDeps,
  streamId: string,
): Promise<RecordedEvent<Event>[]> {
  const rows = await atOneMoment(o.database, async (db) => [
    ...(await archivedRows(db, o.archive, streamId)),
    ...(await liveRows(db, streamId)),
  ]);
  return toRecorded<Event>(o.aggregate.events, rows.filter(isDetail));
}

/**
 * The state at a moment, by the database's clock; undefined: there was nothing yet. Reads the archive only for a moment before the
 * stream's aggregate event.
 *
 * @throws ArchiveUnavailableError as {@link readHistory}.
 */
export async function stateAt<State>(
  o: HistoryDeps,
  streamId: string,
  at: Date,
): Promise<{ state: State; version: number } | undefined> {
  const rows = await atOneMoment(o.database, async (db) => {
    const live = await liveRows(db, streamId);
    const [first] = live;
    if (first?.type !== CONDENSED || first.at <= at.getTime()) return live;
    return [...(await archivedRows(db, o.archive, streamId)).filter(isDetail), ...live.filter(isDetail)];
  });
  const after = rows.findIndex((row) => row.at > at.getTime());
  const before = after < 0 ? rows : rows.slice(0, after);
  return before.length === 0 ? undefined : foldRows<State>(o.aggregate, streamId, before);
}

function isDetail({ type }: PositionedRow): boolean {
  return type !== CONDENSED;
}

/** A stream that is condensed or restored between two reads would be there twice, or not at all. */
function atOneMoment<T>({ db }: Database, read: (tx: Executor) => Promise<T>): Promise<T> {
  return db.transaction(read, { isolationLevel: 'repeatable read', accessMode: 'read only' });
}

function liveRows(db: Executor, streamId: string): Promise<PositionedRow[]> {
  return runPrepared<PositionedRow>(
    db,
    'history_events',
    `SELECT ${POSITIONED} FROM events WHERE stream_id = $1::text ORDER BY events.version`,
    [streamId],
  );
}

async function archivedRows(db: Executor, store: ArchiveStore, streamId: string): Promise<PositionedRow[]> {
  const rows: PositionedRow[] = [];
  for (const archive of await archivesOf(db, streamId))
    rows.push(...(await linesOf(store, archive)).map(positioned));
  return rows;
}
