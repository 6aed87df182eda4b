import { isDeepStrictEqual } from 'node:util';
import type { Database, Transaction } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import { runPrepared } from '@sidecart/messaging/prepared';
import { type AnyAggregate, CONDENSED, toState } from './aggregate.ts';
import { type ArchiveStore, LINE, LINES_CHECKSUM, type Packed, pack } from './archive.ts';
import {
  ArchiveUnavailableError,
  CondenseRefusedError,
  foreignPosition,
  UnknownShapeError,
} from './errors.ts';
import { applyRow, type EventRow, foldRows } from './load.ts';
import { LOCKS } from './lock-classes.ts';
import { survivesJson } from './plain.ts';
import { FOREIGN_POSITION } from './subscription.ts';

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

interface Line extends EventRow {
  /** Of the stream. */
  of: string;
  line: string;
}

interface Plan {
  streamId: string;
  fromVersion: number;
  toVersion: number;
  events: number;
  rows: number;
  state: unknown;
  packed: Packed;
  location: string | undefined;
}

/**
 * Puts one event with the whole state in the place of a stream's events up to a version (default: all), which move to the archive.
 * A considered loss of detail: who asks for the order's history gets it from the archive.
 *
 * Everything slow is done before the stream is locked: who appends meanwhile waits for one insert and one commit, and does not fail.
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
  const plan = await prepare(o, streamId, upTo);
  await o.database.db.transaction((tx) => replace(tx, o, plan, decision));
  const { fromVersion, toVersion, events } = plan;
  return { streamId, fromVersion, toVersion, events };
}

async function prepare(o: CondenseDeps, streamId: string, upTo: number | undefined): Promise<Plan> {
  const all = await runPrepared<Line>(
    o.database.db,
    'condense_read',
    `SELECT version::float8 AS version, type, schema_version, data, ${LINE} AS line,
       (SELECT s.type FROM streams s WHERE s.stream_id = $1::text) AS of
     FROM events WHERE stream_id = $1::text ORDER BY events.version`,
    [streamId],
  );
  const head = all.at(-1);
  if (!head) throw new CondenseRefusedError('no_stream', `There is no stream ${streamId}`);
  refuseUnknown(o.aggregate, streamId, all);
  const toVersion = upTo ?? head.version;
  const old = all.filter((row) => row.version <= toVersion);
  const [first] = old;
  if (!first || old.length < 2 || old.at(-1)?.version !== toVersion)
    throw new CondenseRefusedError(
      'nothing_to_condense',
      `Stream ${streamId} has no two events up to version ${toVersion}; its last is ${head.version}`,
    );
  const state = stateOf(o.aggregate, streamId, all, toVersion);
  const packed = await pack(old.map(({ line }) => line));
  const fromVersion = first.version;
  const name = `${streamId}/${fromVersion}-${toVersion}-${packed.checksum.slice(0, 16)}`;
  const location = await o.archive.put(name, packed.content).catch((err: unknown) => {
    if (err instanceof CondenseRefusedError) throw err;
    throw new ArchiveUnavailableError(streamId, 'put', err);
  });
  const events = old.filter(({ type }) => type !== CONDENSED).length;
  return { streamId, fromVersion, toVersion, events, rows: old.length, state, packed, location };
}

/** Code that knows less than what is stored would leave a part of it out for ever: other code's stream, or older code after an update. */
function refuseUnknown(aggregate: AnyAggregate, streamId: string, all: readonly Line[]): void {
  const other = all.find(({ of }) => of !== aggregate.type);
  if (other)
    throw new CondenseRefusedError(
      'no_stream',
      `Stream ${streamId} is of ${other.of}, not of ${aggregate.type}`,
    );
  const unknown = all.find(({ type }) => type !== CONDENSED && !Object.hasOwn(aggregate.events, type));
  if (unknown)
    throw new CondenseRefusedError(
      'unknown_shape',
      `Event ${unknown.version} of ${streamId} is ${unknown.type}, which this code does not know: run the code that wrote it, or newer`,
    );
}

/** The state up to a version, which as it will be read, and with all that follows it, makes what the events make. */
function stateOf(aggregate: AnyAggregate, streamId: string, all: readonly Line[], version: number): unknown {
  try {
    const { state } = foldRows<unknown>(
      aggregate,
      streamId,
      all.filter((row) => row.version <= version),
    );
    const later = all.filter((row) => row.version > version);
    const fold = (from: unknown) => later.reduce((at, row) => applyRow(aggregate, at, row), from);
    const before = fold(state);
    if (survivesJson(state) && survivesJson(before)) {
      const after = fold(toState<unknown>(aggregate, aggregate.state.version, asJson(state)));
      if (isDeepStrictEqual(asJson(before), asJson(after))) return state;
    }
  } catch (err) {
    if (err instanceof UnknownShapeError) throw new CondenseRefusedError('unknown_shape', err.message);
    throw err;
  }
  throw new CondenseRefusedError(
    'replay_differs',
    `Stream ${streamId} would have another state: what evolve makes of ${aggregate.type} does not survive JSON`,
  );
}

async function replace(tx: Transaction, o: CondenseDeps, plan: Plan, decision: Decision): Promise<void> {
  const { streamId, toVersion } = plan;
  await runPrepared(tx, 'condensing_shared', 'SELECT pg_advisory_xact_lock_shared($1::int, 0)', [
    LOCKS.condensing,
  ]);
  await refuseWhileBehind(tx, streamId, toVersion);
  await refuseWhileMessages(tx, streamId, o.topics);
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

/** A read model that has not done these events would never see them. */
async function refuseWhileBehind(tx: Transaction, streamId: string, toVersion: number): Promise<void> {
  const [row] = await runPrepared<{ name: string; state: string; foreign: boolean }>(
    tx,
    'condense_behind',
    `SELECT name, state, ${FOREIGN_POSITION} AS foreign FROM subscriptions s
     WHERE state <> 'retired' AND (${FOREIGN_POSITION} OR EXISTS (
       SELECT FROM events e WHERE e.stream_id = $1::text AND e.version <= $2::bigint AND e.type <> '${CONDENSED}'
         AND NOT pg_visible_in_snapshot(e.xid, s.done)))
     ORDER BY state LIMIT 1`,
    [streamId, String(toVersion)],
  );
  if (row?.foreign) throw new CondenseRefusedError('foreign_position', foreignPosition(row.name));
  if (row)
    throw new CondenseRefusedError(
      'projection_behind',
      row.state === 'building'
        ? `Projection ${row.name} is being rebuilt: wait until it has ended`
        : `Projection ${row.name} has not done all events of ${streamId}: try again when it has`,
    );
}

async function refuseWhileMessages(
  tx: Transaction,
  streamId: string,
  topics: readonly string[],
): Promise<void> {
  const [row] = await runPrepared<{ unsent: boolean; kept: boolean }>(
    tx,
    'condense_messages',
    `SELECT EXISTS (SELECT FROM outbox WHERE msg_key = $1::text)
       OR EXISTS (SELECT FROM outbox_delayed WHERE msg_key = $1::text)
       OR EXISTS (SELECT FROM outbox_local WHERE msg_key = $1::text) AS unsent,
     EXISTS (SELECT FROM sent WHERE topic IN (SELECT json_array_elements_text($2::text::json)) AND msg_key = $1::text) AS kept`,
    [streamId, JSON.stringify(topics)],
  );
  if (row?.unsent)
    throw new CondenseRefusedError(
      'message_unsent',
      `A message of ${streamId} is not yet sent: try again later`,
    );
  if (row?.kept)
    throw new CondenseRefusedError(
      'message_kept',
      `Messages of ${streamId} are still kept for receivers that miss them: try again when they are dropped`,
    );
}

/** As it is read back. */
function asJson(state: unknown): unknown {
  return JSON.parse(JSON.stringify(state));
}
