import type { Transaction } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { CONDENSED } from './aggregate.ts';
import { ARCHIVE_COLUMNS, type ArchiveRow, LINE, LINES_CHECKSUM, linesOf } from './archive.ts';
import type { CondenseDeps, Decision } from './condense.ts';
import { CondenseRefusedError } from './errors.ts';
import { LOCKS } from './lock-classes.ts';

/** Events in one statement. */
const PAGE = 2000;

export interface Restored {
  streamId: string;
  fromVersion: number;
  toVersion: number;
  /** Archives in force that are left: the stream was condensed more than once. */
  more: number;
}

/**
 * Brings the newest archive of a stream back in the place of its aggregate event. Proved by the checksum of the rows as they then are
 * in the table, before the commit.
 *
 * @throws CondenseRefusedError with nothing changed.
 * @throws ArchiveUnavailableError when the archive is kept elsewhere and cannot be fetched.
 */
export async function restoreStream(
  o: Pick<CondenseDeps, 'database' | 'archive'>,
  streamId: string,
  decision: Decision,
): Promise<Restored> {
  const { db } = o.database;
  const archives = await runPrepared<ArchiveRow>(
    db,
    'restore_archives',
    `SELECT ${ARCHIVE_COLUMNS} FROM events_archive WHERE stream_id = $1::text AND restored_at IS NULL
     ORDER BY events_archive.id DESC LIMIT 100`,
    [streamId],
  );
  const [newest] = archives;
  if (!newest)
    throw new CondenseRefusedError('nothing_to_restore', `Stream ${streamId} has no archive in force`);
  const lines = await linesOf(o.archive, newest);
  await db.transaction((tx) => bringBack(tx, newest, lines, decision));
  const { from_version: fromVersion, to_version: toVersion } = newest;
  return { streamId, fromVersion, toVersion, more: archives.length - 1 };
}

async function bringBack(
  tx: Transaction,
  archive: ArchiveRow,
  lines: readonly string[],
  decision: Decision,
): Promise<void> {
  const { id, stream_id: streamId, to_version: toVersion, checksum } = archive;
  await runPrepared(tx, 'condensing_shared', 'SELECT pg_advisory_xact_lock_shared($1::int, 0)', [
    LOCKS.condensing,
  ]);
  await refuseWhileBuilding(tx);
  const { count: claimed } = await runPrepared(
    tx,
    'restore_claim',
    `UPDATE events_archive SET restored_at = clock_timestamp(), restored_by = $2::text, restore_reason = $3::text
     WHERE id = $1::text::bigint AND restored_at IS NULL`,
    [id, decision.by, decision.reason],
  );
  const { count: gone } = await runPrepared(
    tx,
    'restore_delete',
    `DELETE FROM events WHERE stream_id = $1::text AND version = $2::bigint AND type = '${CONDENSED}'`,
    [streamId, String(toVersion)],
  );
  if (claimed !== 1 || gone !== 1)
    throw new CondenseRefusedError(
      'changed_meanwhile',
      `Stream ${streamId} was condensed or restored by somebody else meanwhile: look at it and try again`,
    );
  await insertLines(tx, lines);
  await prove(tx, streamId, toVersion, checksum);
  await runPrepared(
    tx,
    'restore_mark',
    `UPDATE streams SET condensed_version = coalesce(
       (SELECT max(version) FROM events WHERE stream_id = $1::text AND type = '${CONDENSED}'), 0)
     WHERE stream_id = $1::text`,
    [streamId],
  );
}

/** It reads archives and events one after the other: one that moves between them would count twice. */
async function refuseWhileBuilding(tx: Transaction): Promise<void> {
  const [row] = await runPrepared<{ name: string }>(
    tx,
    'restore_building',
    `SELECT name FROM subscriptions WHERE state = 'building' LIMIT 1`,
    [],
  );
  if (row)
    throw new CondenseRefusedError(
      'projection_building',
      `Projection ${row.name} is being rebuilt: wait until it has ended`,
    );
}

/**
 * As transactions that ended long ago: every read model has done these events. Some at a time: to insert takes longer than to delete, and
 * in one statement what was condensed could be too much to be brought back.
 */
async function insertLines(tx: Transaction, lines: readonly string[]): Promise<void> {
  for (let from = 0; from < lines.length; from += PAGE)
    await runPrepared(
      tx,
      'restore_insert',
      `INSERT INTO events (stream_id, version, pos, xid, event_id, type, schema_version, data, meta, at)
       SELECT stream_id, version, pos, '3', event_id, type, schema_version, data, meta,
         timestamptz 'epoch' + at_us * interval '1 microsecond'
       FROM json_to_recordset($1::text::json) AS l (stream_id text, version bigint, pos bigint, event_id uuid, type text,
         schema_version int, data jsonb, meta jsonb, at_us bigint)`,
      [`[${lines.slice(from, from + PAGE).join()}]`],
    );
}

async function prove(tx: Transaction, streamId: string, toVersion: number, checksum: string): Promise<void> {
  const [row] = await runPrepared<{ checksum: string }>(
    tx,
    'restore_prove',
    `SELECT ${LINES_CHECKSUM} AS checksum
     FROM (SELECT version, ${LINE} AS line FROM events WHERE stream_id = $1::text AND version <= $2::bigint) AS l`,
    [streamId, String(toVersion)],
  );
  if (row?.checksum !== checksum)
    throw new CondenseRefusedError(
      'archive_damaged',
      `What came back for ${streamId} is not what was archived; nothing was changed`,
    );
}
