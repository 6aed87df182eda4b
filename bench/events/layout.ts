import { createEventTables } from '@sidecart/event-sourcing/testing';
import type postgres from 'postgres';
import { EVENT_BYTES, EVENT_TYPE, META, SCHEMA_VERSION, STREAM_TYPE } from './account.ts';

/** Where an arm keeps its events. */
export interface Layout {
  prepare(url: string): Promise<void>;
  /** Its events as (stream, version, pos, id, n, pence). */
  events: string;
  /** Its streams as (stream, version). */
  streams: string;
  /** What stores streams and events, given as a query for (n, stream, version), as the arm itself would have. */
  fillStreams(numbered: string): string;
  fillEvents(numbered: string): string;
}

/** As `deposited` makes it, of `n`. */
const BARE = `octet_length('{"n":,"pence":,"filler":""}') + length(n::text) + length((n * 7 % 1000)::text)`;
export const DATA = `jsonb_build_object('n', n, 'pence', n * 7 % 1000, 'filler', repeat('x', ${EVENT_BYTES} - (${BARE})))`;

/** The tables of this project: raw arms use them too. */
export const OWN_TABLES: Layout = {
  prepare: createEventTables,
  events: `SELECT stream_id AS stream, version, pos, event_id::text AS id, (data->>'n')::int AS n, (data->>'pence')::int AS pence FROM events`,
  streams: 'SELECT stream_id AS stream, version FROM streams',
  fillStreams: (numbered) => `
    INSERT INTO streams (stream_id, type, version)
    SELECT stream, '${STREAM_TYPE}', max(version) FROM (${numbered}) AS e GROUP BY stream`,
  fillEvents: (numbered) => `
    INSERT INTO events (stream_id, version, event_id, type, schema_version, data, meta)
    SELECT stream, version, gen_random_uuid(), '${EVENT_TYPE}', ${SCHEMA_VERSION}, ${DATA}, '${JSON.stringify(META)}'
    FROM (${numbered}) AS e ORDER BY n`,
};

/** Events of one transaction: as many ids of transactions as there would be, since readers ask for them. */
const PER_TRANSACTION = 10;

/**
 * Stores so many events in streams of one length, so many streams at a time, their events in turn: what a shop leaves behind. `n` of
 * an event tells its stream and version.
 */
export async function fill(
  sql: postgres.Sql,
  layout: Layout,
  o: { events: number; length: number; together: number },
): Promise<void> {
  const block = o.length * o.together;
  const numbered = (from: string, upTo: string) => `
    SELECT n, '${STREAM_TYPE}-' || (n / ${block} * ${o.together} + n % ${o.together}) AS stream,
      n % ${block} / ${o.together} + 1 AS version
    FROM generate_series(${from}, ${upTo}) AS n`;
  await sql.unsafe('SET synchronous_commit = off');
  await sql.unsafe(layout.fillStreams(numbered('0', String(o.events - 1))));
  await sql.unsafe(`
    DO $$ BEGIN
      FOR low IN 0..${o.events - 1} BY ${PER_TRANSACTION} LOOP
        ${layout.fillEvents(numbered('low', `least(low + ${PER_TRANSACTION}, ${o.events}) - 1`))};
        COMMIT;
      END LOOP;
    END $$`);
  await sql.unsafe('RESET synchronous_commit');
  await sql.unsafe('VACUUM ANALYZE');
}

/** Stores the first so many events of one stream; `first` is the number of its first event. */
export async function fillStream(
  sql: postgres.Sql,
  layout: Layout,
  o: { stream: string; length: number; first: number },
): Promise<void> {
  const numbered = `SELECT n + ${o.first} AS n, '${o.stream}' AS stream, n + 1 AS version FROM generate_series(0, ${o.length - 1}) AS n`;
  await sql.unsafe(layout.fillStreams(numbered));
  await sql.unsafe(layout.fillEvents(numbered));
}
