import { createHash } from 'node:crypto';
import type { Executor } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { type AnyAggregate, CONDENSED, toEvent, toState } from './aggregate.ts';
import type { Tagged } from './decider.ts';

/** A thing as its history says it is. */
export interface Loaded<State> {
  state: State;
  /** Of its last event; 0: there is none. */
  version: number;
  /** Of the snapshot that it was made from; 0: from none. */
  snapshotVersion: number;
  /** There is a snapshot for this code that cannot be used. */
  snapshotDamaged: boolean;
}

export interface EventRow {
  version: number;
  type: string;
  schema_version: number;
  data: unknown;
}

interface Row extends EventRow {
  state: string | null;
  checksum: string | null;
}

/** No code has this version: reads no snapshot. */
const NO_SNAPSHOT = -1;

// The snapshot and what came after it in one statement, so that they are of one moment. One that is ahead of its stream is of another
// history: a part of the database was restored.
const LOAD = `
  WITH snapshot AS (
    SELECT n.version, n.state::text AS state, n.checksum FROM snapshots n JOIN streams s USING (stream_id)
    WHERE n.stream_id = $1::text AND n.schema_version = $2::int AND n.version <= s.version
  )
  SELECT version::float8, NULL AS type, 0 AS schema_version, NULL::jsonb AS data, state, checksum FROM snapshot
  UNION ALL (
    SELECT version::float8, type, schema_version, data, NULL, NULL FROM events
    WHERE stream_id = $1::text AND version > coalesce((SELECT version FROM snapshot), 0)
    ORDER BY events.version
  )`;

/**
 * The state of a stream, from its newest usable snapshot and the events after it. A snapshot of another version of the code, or one
 * that is damaged or ahead of its stream, is left aside: the events alone give the same state.
 *
 * @throws UnknownShapeError for an event that this code cannot read.
 * @throws Error for a stream that lacks an event.
 */
export async function loadStream<State>(
  db: Executor,
  aggregate: AnyAggregate,
  streamId: string,
): Promise<Loaded<State>> {
  const rows = await read(db, streamId, aggregate.state.version);
  const [first] = rows;
  const snapshot = first?.type === null ? first : undefined;
  if (!snapshot) return { ...foldRows<State>(aggregate, streamId, rows), ...none(false) };
  if (snapshot.state === null || checksumOf(snapshot.state) !== snapshot.checksum) {
    const all = await read(db, streamId, NO_SNAPSHOT);
    return { ...foldRows<State>(aggregate, streamId, all), ...none(true) };
  }
  const start = { state: JSON.parse(snapshot.state) as State, version: snapshot.version };
  return {
    ...foldRows(aggregate, streamId, rows.slice(1), start),
    snapshotVersion: snapshot.version,
    snapshotDamaged: false,
  };
}

/** Takes the stream's lock until the end of the transaction: nobody appends, condenses or restores. False: there is no such stream. */
export async function lockStream(tx: Executor, streamId: string): Promise<boolean> {
  const { count } = await runPrepared(
    tx,
    'lock_stream',
    'SELECT FROM streams WHERE stream_id = $1::text FOR UPDATE',
    [streamId],
  );
  return count > 0;
}

/** Of a state's text, as a snapshot has it. */
export function checksumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/**
 * The state after these rows, which are all that there are of the stream after `start`.
 *
 * @throws Error when one is missing.
 */
export function foldRows<State>(
  aggregate: AnyAggregate,
  streamId: string,
  rows: readonly EventRow[],
  start?: { state: State; version: number },
): { state: State; version: number } {
  let { state, version } = start ?? { state: aggregate.initialState() as State, version: 0 };
  for (const row of rows) {
    // An aggregate event stands for all before it, also for those behind a snapshot that is older than it.
    if (row.version !== version + 1 && row.type !== CONDENSED)
      throw new Error(`Stream ${streamId} has no event ${version + 1} before ${row.version}`);
    state = applyRow(aggregate, state, row);
    version = row.version;
  }
  return { state, version };
}

/** The state after one more row; an aggregate event is the state, whatever it was before. */
export function applyRow<State>(aggregate: AnyAggregate, state: State, row: EventRow): State {
  const { type, schema_version: schemaVersion, data } = row;
  if (type === CONDENSED) return toState<State>(aggregate, schemaVersion, (data as { state: unknown }).state);
  return aggregate.evolve(state, toEvent<Tagged>(aggregate.events, { type, schemaVersion, data })) as State;
}

function none(snapshotDamaged: boolean) {
  return { snapshotVersion: 0, snapshotDamaged };
}

function read(db: Executor, streamId: string, schemaVersion: number): Promise<Row[]> {
  return runPrepared<Row>(db, 'load_stream', LOAD, [streamId, schemaVersion]);
}
