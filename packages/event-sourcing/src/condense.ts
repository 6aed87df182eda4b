import type { Database, Transaction } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import { runPrepared } from '@sidecart/messaging/prepared';
import { type AnyAggregate, CONDENSED } from './aggregate.ts';
import { type ArchiveStore, LINE, LINES_CHECKSUM } from './archive.ts';
import { type Plan, planCondensing } from './condense-plan.ts';
import { refuseCondensing } from './condense-refusals.ts';
import { CondenseRefusedError } from './errors.ts';
import { LOCKS } from './lock-classes.ts';

export interface CondenseDeps {
  database: Database;
  aggregate: AnyAggregate;
  archive: ArchiveStore;
  /** The topics that tell of these streams, by messages whose key is the stream's id. */
  topics: readonly string[];
}

/** Who decided it, and why; kept with the archive. */
export interface Decision {
  by: string;
  reason: string;
}

export interface Condensed {
  streamId: string;
  fromVersion: number;
  toVersion: number;
  /** That gave way. */
  events: number;
}

/**
 * Puts one event with the whole state in the place of a stream's events up to a version (default: all), which move to the archive.
 * A considered loss of detail: who asks for the order's history gets it from the archive.
 *
 * Everything slow is done before the stream is locked, and in small pieces: who appends meanwhile waits for one insert and one commit,
 * and does not fail.
 *
 * @throws CondenseRefusedError with nothing changed: when the state would not be the same afterwards, when a read model has not
 *   passed these events, or when a message of the stream is unsent or still kept for receivers that miss it.
 */
export async function condenseStream(
  o: CondenseDeps,
  streamId: string,
  decision: Decision,
  upTo?: number,
): Promise<Condensed> {
  const plan = await planCondensing(o, streamId, upTo);
  await o.database.db.transaction((tx) => replace(tx, o, plan, decision));
  const { fromVersion, toVersion, events } = plan;
  return { streamId, fromVersion, toVersion, events };
}

async function replace(tx: Transaction, o: CondenseDeps, plan: Plan, decision: Decision): Promise<void> {
  const { streamId, toVersion } = plan;
  await runPrepared(tx, 'condensing_shared', 'SELECT pg_advisory_xact_lock_shared($1::int, 0)', [
    LOCKS.condensing,
  ]);
  // Asked before the plan as well; only what is so under this lock counts.
  await refuseCondensing(tx, o, streamId, toVersion);
  const [gone] = await runPrepared<{ count: number; checksum: string; at: string }>(
    tx,
    'condense_delete',
    `WITH gone AS (DELETE FROM events WHERE stream_id = $1::text AND version <= $2::bigint RETURNING version, at, ${LINE} AS line)
     SELECT count(*)::int AS count, ${LINES_CHECKSUM} AS checksum, max(at)::text AS at FROM gone`,
    [streamId, String(toVersion)],
  );
  if (gone?.count !== plan.rows || gone.checksum !== plan.packed.checksum)
    throw new CondenseRefusedError(
      'changed_meanwhile',
      `Stream ${streamId} was condensed or restored by somebody else meanwhile: look at it and try again`,
    );
  await archive(tx, plan, decision);
  // From here to the commit whoever appends waits.
  await Promise.all([
    runPrepared(
      tx,
      'condense_mark',
      'UPDATE streams SET condensed_version = $2::bigint WHERE stream_id = $1::text',
      [streamId, String(toVersion)],
    ),
    runPrepared(
      tx,
      'condense_insert',
      `INSERT INTO events (stream_id, version, event_id, type, schema_version, data, meta, at)
       VALUES ($1::text, $2::bigint, $3::uuid, '${CONDENSED}', $4::int, $5::text::jsonb, $6::text::jsonb, $7::text::timestamptz)`,
      [
        streamId,
        String(toVersion),
        uuidv7(),
        o.aggregate.state.version,
        JSON.stringify({ state: plan.state }),
        JSON.stringify({ actor: decision.by, command: 'Condense', reason: decision.reason }),
        gone.at,
      ],
    ),
  ]);
}

async function archive(tx: Transaction, plan: Plan, { by, reason }: Decision): Promise<void> {
  const { streamId, fromVersion, toVersion, events, packed, location } = plan;
  await runPrepared(
    tx,
    'condense_archive',
    `INSERT INTO events_archive
       (stream_id, from_version, to_version, events, content, location, checksum, condensed_by, reason)
     VALUES ($1::text, $2::bigint, $3::bigint, $4::int, $5::bytea, $6::text, $7::text, $8::text, $9::text)`,
    [
      streamId,
      String(fromVersion),
      String(toVersion),
      events,
      location === undefined ? packed.content : null,
      location ?? null,
      packed.checksum,
      by,
      reason,
    ],
  );
}
