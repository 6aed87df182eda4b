import type { Database, Executor, Transaction } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import { runPrepared } from '@sidecart/messaging/prepared';
import { type AnyAggregate, type StoredEvent, toStored } from './aggregate.ts';
import type { Tagged } from './decider.ts';
import { ConcurrencyError, EmptyAppendError } from './errors.ts';
import { currentMeta, type EventMeta } from './meta.ts';

export interface Append<Event extends Tagged> {
  streamId: string;
  /** Of the stream's last event as the decision saw it; 0: there was none. */
  expectedVersion: number;
  events: readonly Event[];
  /** Default: of the running request or message. */
  meta?: EventMeta;
  /** One for each event. Who repeats an append whose commit got no answer gives the same ones again: they are then known. */
  eventIds?: readonly string[];
}

// The version is checked by taking the lock of the stream's row, and `pos` is given out after that: within a stream it grows with the
// version. Who waits here for another's commit sees the version that it made.
const LOCKED = `
  UPDATE streams SET version = version + $3::int, last_at = clock_timestamp()
  WHERE stream_id = $1::text AND version = $2::bigint RETURNING version - $3::int AS before`;
const CREATED = `
  INSERT INTO streams (stream_id, type, version) VALUES ($1::text, $2::text, $3::int)
  ON CONFLICT (stream_id) DO NOTHING RETURNING 0 AS before`;

const ONE = `
  INSERT INTO events (stream_id, version, event_id, type, schema_version, data, meta)
  SELECT $1::text, before + 1, $5::uuid, $6::text, $7::int, $8::text::jsonb, $4::text::jsonb FROM stream`;
// What is the same for all events is read from its text once: as a parameter it would be for each. One jsonb that is taken apart is a
// fifth less work than a record set.
const MANY = `
  INSERT INTO events (stream_id, version, event_id, type, schema_version, data, meta)
  SELECT $1::text, before + n, (e->>'event_id')::uuid, e->>'type', (e->>'schema_version')::int, e->'data', same.meta
  FROM stream CROSS JOIN same CROSS JOIN jsonb_array_elements($5::text::jsonb) WITH ORDINALITY AS all_events (e, n)
  ORDER BY n`;
const SAME = 'same AS MATERIALIZED (SELECT $4::text::jsonb AS meta)';

/**
 * Appends to a stream as part of `tx`: all events or none, exactly after the version that the decision was made on. One statement.
 * What is written in the same transaction (messages, the note that one was handled) commits with it or not at all.
 *
 * @returns the stream's new version.
 * @throws ConcurrencyError when the stream has moved on; nothing was written and `tx` is still good.
 * @throws EmptyAppendError without events.
 */
export function appendEvents<Event extends Tagged>(
  tx: Transaction,
  aggregate: Pick<AnyAggregate, 'type' | 'events'>,
  o: Append<Event>,
): Promise<number> {
  return append(tx, aggregate, o);
}

/**
 * Appends as {@link appendEvents} does, in a transaction of its own: for who has nothing else to write with the events, as an import.
 * Who has a message to send, or a note to keep that one was handled, must not: it would be lost, or done twice, when the process
 * dies in between. One round trip; the listeners of a commit are told.
 *
 * @throws ConcurrencyError, EmptyAppendError as there.
 */
export async function appendAlone<Event extends Tagged>(
  o: { database: Database; onAppend?: () => void },
  aggregate: Pick<AnyAggregate, 'type' | 'events'>,
  what: Append<Event>,
): Promise<number> {
  const version = await append(o.database.db, aggregate, what);
  o.onAppend?.();
  o.database.committed();
  return version;
}

async function append(
  db: Executor,
  aggregate: Pick<AnyAggregate, 'type' | 'events'>,
  o: Append<Tagged>,
): Promise<number> {
  const { streamId, expectedVersion, events } = o;
  if (events.length === 0) throw new EmptyAppendError(streamId);
  const ids = o.eventIds ?? events.map(() => uuidv7());
  if (ids.length !== events.length)
    throw new TypeError(`${streamId}: ${ids.length} ids for ${events.length} events`);
  const rows = events.map((event) => toStored(aggregate.events, event));
  const isNew = expectedVersion === 0;
  const head = [
    streamId,
    isNew ? aggregate.type : String(expectedVersion),
    events.length,
    JSON.stringify(o.meta ?? currentMeta(undefined)),
  ];
  const { count } = await insert(db, isNew, head, rows, ids);
  if (count === 0 && !(o.eventIds && (await isAppended(db, o, ids))))
    throw new ConcurrencyError(streamId, expectedVersion);
  return expectedVersion + events.length;
}

function insert(db: Executor, isNew: boolean, head: unknown[], rows: StoredEvent[], ids: readonly string[]) {
  const stream = `WITH stream AS (${isNew ? CREATED : LOCKED})`;
  const [row] = rows;
  if (rows.length === 1 && row) {
    const one = [ids[0], row.type, row.schemaVersion, JSON.stringify(row.data)];
    return runPrepared(db, isNew ? 'append_new_one' : 'append_one', `${stream} ${ONE}`, [...head, ...one]);
  }
  const many = rows.map(({ type, schemaVersion, data }, i) => ({
    event_id: ids[i],
    type,
    schema_version: schemaVersion,
    data,
  }));
  const params = [...head, JSON.stringify(many)];
  return runPrepared(db, isNew ? 'append_new_many' : 'append_many', `${stream}, ${SAME} ${MANY}`, params);
}

/** Whether these very events are where they were to be: an earlier attempt did commit after all. */
async function isAppended(
  db: Executor,
  { streamId, expectedVersion }: Append<Tagged>,
  ids: readonly string[],
): Promise<boolean> {
  const rows = await runPrepared<{ event_id: string }>(
    db,
    'append_look',
    `SELECT event_id FROM events WHERE stream_id = $1::text AND version > $2::bigint
     AND version <= $2::bigint + $3::int ORDER BY version`,
    [streamId, String(expectedVersion), ids.length],
  );
  return rows.length === ids.length && rows.every((row, i) => row.event_id === ids[i]);
}
