import type { Database } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { type AnyAggregate, CONDENSED } from './aggregate.ts';
import { type ArchiveRow, type ArchiveStore, archivesOf, linesOf, positioned } from './archive.ts';
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
  const { archives, live } = await readStream(o.database, streamId);
  const rows = [...(await archivedRows(o.archive, archives)), ...live];
  return toRecorded<Event>(o.aggregate.events, rows.filter(isDetail));
}

/**
 * The state at a moment, by the database's clock and to the millisecond, as a history tells it; undefined: there was nothing yet.
 * Reads the archive only for a moment before the stream's aggregate event.
 *
 * @throws ArchiveUnavailableError as {@link readHistory}.
 */
export async function stateAt<State>(
  o: HistoryDeps,
  streamId: string,
  at: Date,
): Promise<{ state: State; version: number } | undefined> {
  const { archives, live } = await readStream(o.database, streamId);
  const isLater = (row: PositionedRow) => Math.floor(row.at) > at.getTime();
  const [first] = live;
  const rows =
    first?.type === CONDENSED && isLater(first)
      ? [...(await archivedRows(o.archive, archives)), ...live].filter(isDetail)
      : live;
  const after = rows.findIndex(isLater);
  const before = after < 0 ? rows : rows.slice(0, after);
  return before.length === 0 ? undefined : foldRows<State>(o.aggregate, streamId, before);
}

/** What there is of a stream without its events. */
export async function streamHead(
  { db }: Pick<Database, 'db'>,
  streamId: string,
): Promise<{ type: string; version: number } | undefined> {
  const [row] = await runPrepared<{ type: string; version: number }>(
    db,
    'stream_head',
    'SELECT type, version::float8 AS version FROM streams WHERE stream_id = $1::text',
    [streamId],
  );
  return row;
}

/** What was done to a stream's history, and not by it: who condensed or restored it, when and why. */
export interface Condensing {
  from_version: number;
  to_version: number;
  events: number;
  condensed_at: string;
  condensed_by: string;
  reason: string;
  restored_at: string | null;
  restored_by: string | null;
  restore_reason: string | null;
}

export function listCondensings({ db }: Pick<Database, 'db'>, streamId: string): Promise<Condensing[]> {
  const utc = (column: string) =>
    `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS ${column}`;
  return runPrepared<Condensing>(
    db,
    'condensings',
    `SELECT from_version::float8 AS from_version, to_version::float8 AS to_version, events, ${utc('condensed_at')}, condensed_by,
       reason, ${utc('restored_at')}, restored_by, restore_reason
     FROM events_archive WHERE stream_id = $1::text ORDER BY events_archive.id`,
    [streamId],
  );
}

function isDetail({ type }: PositionedRow): boolean {
  return type !== CONDENSED;
}

/** At one moment: a stream that is condensed or restored between two reads would be there twice, or not at all. */
function readStream(
  { db }: Database,
  streamId: string,
): Promise<{ archives: ArchiveRow[]; live: PositionedRow[] }> {
  return db.transaction(
    async (tx) => {
      const [archives, live] = await Promise.all([
        archivesOf(tx, streamId),
        runPrepared<PositionedRow>(
          tx,
          'history_events',
          `SELECT ${POSITIONED} FROM events WHERE stream_id = $1::text ORDER BY events.version`,
          [streamId],
        ),
      ]);
      return { archives, live };
    },
    { isolationLevel: 'repeatable read', accessMode: 'read only' },
  );
}

/** Not in a transaction, as they may be kept elsewhere; an archive never changes and is never removed. */
async function archivedRows(store: ArchiveStore, archives: readonly ArchiveRow[]): Promise<PositionedRow[]> {
  const rows: PositionedRow[] = [];
  for (const archive of archives) rows.push(...(await linesOf(store, archive)).map(positioned));
  return rows;
}
