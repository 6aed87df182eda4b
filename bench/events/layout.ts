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
  /** What stores events, given as a query for (n, stream, version), as the arm itself would have. */
  fill(numbered: string): string[];
}

/** As `deposited` makes it, of `n`. */
const BARE = `octet_length('{"n":,"pence":,"filler":""}') + length(n::text) + length((n * 7 % 1000)::text)`;
export const DATA = `jsonb_build_object('n', n, 'pence', n * 7 % 1000, 'filler', repeat('x', ${EVENT_BYTES} - (${BARE})))`;

/** The tables of this project: raw arms use them too. */
export const OWN_TABLES: Layout = {
  prepare: createEventTables,
  events: `SELECT stream_id AS stream, version, pos, event_id::text AS id, (data->>'n')::int AS n, (data->>'pence')::int AS pence FROM events`,
  streams: 'SELECT stream_id AS stream, version FROM streams',
  fill: (numbered) => [
    `INSERT INTO streams (stream_id, type, version)
     SELECT stream, '${STREAM_TYPE}', max(version) FROM (${numbered}) AS e GROUP BY stream
     ON CONFLICT (stream_id) DO UPDATE SET version = excluded.version`,
    `INSERT INTO events (stream_id, version, event_id, type, schema_version, data, meta)
     SELECT stream, version, gen_random_uuid(), '${EVENT_TYPE}', ${SCHEMA_VERSION}, ${DATA}, '${JSON.stringify(META)}'
     FROM (${numbered}) AS e ORDER BY n`,
  ],
};

/** Rows of one transaction. */
const CHUNK = 50_000;

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
  for (let from = 0; from < o.events; from += CHUNK) {
    const upTo = Math.min(from + CHUNK, o.events);
    const numbered = `
      SELECT n, '${STREAM_TYPE}-' || (n / ${block} * ${o.together} + n % ${o.together}) AS stream,
        n % ${block} / ${o.together} + 1 AS version
      FROM generate_series(${from}, ${upTo - 1}) AS n`;
    await sql.begin(async (tx) => {
      for (const statement of layout.fill(numbered)) await tx.unsafe(statement);
    });
  }
  await sql.unsafe('VACUUM ANALYZE');
}

/** Stores the first so many events of one stream; `first` is the number of its first event. */
export async function fillStream(
  sql: postgres.Sql,
  layout: Layout,
  o: { stream: string; length: number; first: number },
): Promise<void> {
  const numbered = `SELECT n + ${o.first} AS n, '${o.stream}' AS stream, n + 1 AS version FROM generate_series(0, ${o.length - 1}) AS n`;
  await sql.begin(async (tx) => {
    for (const statement of layout.fill(numbered)) await tx.unsafe(statement);
  });
}
