import { uuidv7 } from '@sidecart/kit/ids';
import postgres from 'postgres';
import {
  type Account,
  type Deposited,
  EVENT_TYPE,
  evolveAccount,
  initialAccount,
  META,
  SCHEMA_VERSION,
  STREAM_TYPE,
} from './account.ts';
import type { AppendArm, LoadArm, RebuildArm } from './arm.ts';
import { OWN_TABLES } from './layout.ts';
import { foldPage, type PageRow, REBUILT, UPSERT } from './read-model.ts';

// The same tables, indexes and bytes by postgres.js alone: prepared statements, and what can go together goes together.

/** A client that asks the server nothing of its own. */
export const rawClient = (url: string, max: number) =>
  postgres(url, { max, fetch_types: false, onnotice: () => {}, max_lifetime: null });

const EXISTING = `
  UPDATE streams SET version = version + $3::int, last_at = clock_timestamp()
  WHERE stream_id = $1::text AND version = $2::text::bigint RETURNING version - $3::int AS before`;
const NEW = `
  INSERT INTO streams (stream_id, type, version) VALUES ($1::text, $2::text, $3::int)
  ON CONFLICT (stream_id) DO NOTHING RETURNING 0 AS before`;
const COLUMNS = 'stream_id, version, event_id, type, schema_version, data, meta';
const ONE = `INSERT INTO events (${COLUMNS})
  SELECT $1::text, before + 1, $4::uuid, $5::text, ${SCHEMA_VERSION}, $6::text::jsonb, $7::text::jsonb FROM stream`;
const MANY = `INSERT INTO events (${COLUMNS})
  SELECT $1::text, before + ordinality, (e->>'id')::uuid, e->>'type', ${SCHEMA_VERSION}, e->'data', $5::text::jsonb
  FROM stream, jsonb_array_elements($4::text::jsonb) WITH ORDINALITY AS a (e, ordinality)`;

interface Statement {
  text: string;
  params: string[];
}

function statement(stream: string, expectedVersion: number, events: readonly Deposited[]): Statement {
  const isNew = expectedVersion === 0;
  const head = [stream, isNew ? STREAM_TYPE : String(expectedVersion), String(events.length)];
  const text = (insert: string) => `WITH stream AS (${isNew ? NEW : EXISTING}) ${insert}`;
  const meta = JSON.stringify(META);
  const [event] = events;
  if (events.length === 1 && event) {
    const { type, ...data } = event;
    return { text: text(ONE), params: [...head, uuidv7(), type, JSON.stringify(data), meta] };
  }
  const rows = events.map(({ type, ...data }) => ({ id: uuidv7(), type, data }));
  return { text: text(MANY), params: [...head, JSON.stringify(rows), meta] };
}

/** In a transaction that other statements could be part of: its three statements go out together. */
export const rawAppends: AppendArm = {
  layout: OWN_TABLES,
  async open({ url, writers }) {
    // A client each: one that has several connections does not put statements of one transaction on their way together.
    const free = Array.from({ length: writers }, () => rawClient(url, 1));
    return {
      async append(stream, expectedVersion, events) {
        const sql = free.pop();
        if (!sql) throw new Error('more appends at once than there are writers');
        const { text, params } = statement(stream, expectedVersion, events);
        const [, { count }] = await Promise.all([
          sql.unsafe('BEGIN'),
          sql.unsafe(text, params, { prepare: true }),
          sql.unsafe('COMMIT'),
        ]);
        free.push(sql);
        return count > 0;
      },
      async close() {
        for (const sql of free) await sql.end();
      },
    };
  },
};

/** The one statement by itself. */
export const rawAppendsAlone: AppendArm = {
  layout: OWN_TABLES,
  async open({ url, writers }) {
    const sql = rawClient(url, writers);
    return {
      async append(stream, expectedVersion, events) {
        const { text, params } = statement(stream, expectedVersion, events);
        const { count } = await sql.unsafe(text, params, { prepare: true });
        return count > 0;
      },
      close: () => sql.end(),
    };
  },
};

const STREAM = `SELECT version::int AS version, data FROM events WHERE stream_id = $1::text ORDER BY events.version`;
const SNAPSHOT = `SELECT version::int AS version, state FROM snapshots WHERE stream_id = $1::text AND schema_version = 1`;
const SINCE = `SELECT version::int AS version, data FROM events WHERE stream_id = $1::text
  AND version > (SELECT version FROM snapshots WHERE stream_id = $1::text AND schema_version = 1) ORDER BY events.version`;

export const rawLoads: LoadArm = {
  layout: OWN_TABLES,
  async open({ url, snapshot }) {
    const sql = rawClient(url, 1);
    const ask = <Row>(text: string, stream: string) =>
      sql.unsafe(text, [stream], { prepare: true }) as unknown as Promise<Row[]>;
    return {
      async load(stream) {
        // One connection: both are on their way at once.
        const [[start], rows] = await Promise.all([
          snapshot ? ask<{ state: Account; version: number }>(SNAPSHOT, stream) : [undefined],
          ask<{ version: number; data: Deposited }>(snapshot ? SINCE : STREAM, stream),
        ]);
        let state = start?.state ?? initialAccount();
        for (const { data } of rows) state = evolveAccount(state, data);
        return { state, version: rows.at(-1)?.version ?? start?.version ?? 0 };
      },
      close: () => sql.end(),
    };
  },
};

const PAGE_ROWS = 5000;
const PAGE = `SELECT stream_id, version::int AS version, pos, data FROM events WHERE pos > $1::text::bigint AND type = '${EVENT_TYPE}'
  ORDER BY events.pos LIMIT ${PAGE_ROWS}`;

/** Read, parse, upsert, one page after the other, as large as the pages of the projector. */
export const bareLoop: RebuildArm = {
  layout: OWN_TABLES,
  async open({ url }) {
    const sql = rawClient(url, 1);
    return {
      async rebuild() {
        let after = '0';
        for (;;) {
          const rows = (await sql.unsafe(PAGE, [after], { prepare: true })) as unknown as (PageRow & {
            pos: string;
          })[];
          if (rows.length > 0) {
            await sql.unsafe(UPSERT, [String(REBUILT), JSON.stringify(foldPage(rows))], { prepare: true });
            after = rows.at(-1)?.pos ?? after;
          }
          if (rows.length < PAGE_ROWS) return;
        }
      },
      close: () => sql.end(),
    };
  },
};
