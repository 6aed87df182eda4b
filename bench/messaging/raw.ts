import type pg from 'pg';
import type { CellOutcome, Mark } from '../cells/outcome.ts';
import { now } from '../machine.ts';
import { BUSINESS_NOTE, BUSINESS_TABLE, writerPool } from './business.ts';
import { BATCH, type CellJob, WRITERS } from './cell.ts';
import { execute } from './cell-kinds.ts';
import { PAYLOAD_BYTES } from './payload.ts';

/** Rows that there are before a round of deleting. */
const STOCK = 100_000;
const DELETERS = 4;

const MESSAGE_TABLE = `CREATE TABLE message (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, slot smallint NOT NULL, msg_key text NOT NULL,
  event_id uuid NOT NULL, payload json NOT NULL, created_at timestamptz NOT NULL DEFAULT clock_timestamp());
  CREATE INDEX message_slot ON message (slot, id)`;
const INSERT_MESSAGES = `INSERT INTO message (slot, msg_key, event_id, payload)
  SELECT k % 16, 'key-' || k, gen_random_uuid(), $2::json FROM generate_series(1, $1::int) AS k`;
const PAYLOAD = JSON.stringify({ filler: 'x'.repeat(PAYLOAD_BYTES - 13) });

/** What PostgreSQL does at most of what every arm needs: the roofs to read the others by. */
export async function raw(job: Extract<CellJob, { kind: 'raw' }>, mark: Mark): Promise<CellOutcome> {
  await execute(job.url, `${BUSINESS_TABLE}; ${MESSAGE_TABLE}`);
  const pool = writerPool(job.url, WRITERS);
  const done = job.arm === 'batched delete' ? await deletes(pool, job.ms) : await inserts(pool, job, mark);
  const { rows } = await pool.query<{ n: number }>(
    'SELECT (SELECT count(*) FROM business)::int + (SELECT count(*) FROM message)::int AS n',
  );
  await pool.end();
  const off = Math.abs((rows[0]?.n ?? 0) - done.expected);
  return {
    count: done.count,
    seconds: done.seconds,
    faults: off > 0 ? [`${off} rows too many or too few`] : [],
  };
}

interface Done {
  count: number;
  seconds: number;
  /** Rows that must be there at the end. */
  expected: number;
}

async function inserts(pool: pg.Pool, job: { arm: string; ms: number }, mark: Mark): Promise<Done> {
  const rows = job.arm === 'batched insert' ? BATCH : 1;
  const query =
    rows > 1
      ? { name: 'messages', text: INSERT_MESSAGES, values: [rows, PAYLOAD] }
      : {
          name: 'business',
          text: 'INSERT INTO business (customer, note) VALUES ($1, $2)',
          values: ['key-1', BUSINESS_NOTE],
        };
  let count = 0;
  const forMs = async (ms: number) => {
    const from = now();
    const writer = async () => {
      while (now() - from < ms) {
        await pool.query(query);
        count += rows;
      }
    };
    await Promise.all(Array.from({ length: WRITERS }, writer));
    return (now() - from) / 1000;
  };
  await forMs(300);
  const before = count;
  await mark('begin');
  const seconds = await forMs(job.ms);
  await mark('end');
  return { count: count - before, seconds, expected: count };
}

/** Filling the table is not timed, and the meters are not read, as they cannot tell it from the deleting. */
async function deletes(pool: pg.Pool, ms: number): Promise<Done> {
  let [count, seconds] = [0, 0];
  while (seconds * 1000 < ms) {
    await pool.query(INSERT_MESSAGES, [STOCK, PAYLOAD]);
    const { rows } = await pool.query<{ id: string }>('SELECT id FROM message ORDER BY id');
    const ids = rows.map(({ id }) => id);
    const from = now();
    const deleter = async () => {
      while (ids.length > 0 && seconds * 1000 + now() - from < ms) {
        const values = [ids.splice(0, BATCH)];
        const { rowCount } = await pool.query({
          name: 'delete',
          text: 'DELETE FROM message WHERE id = ANY($1::bigint[])',
          values,
        });
        count += rowCount ?? 0;
      }
    };
    await Promise.all(Array.from({ length: DELETERS }, deleter));
    seconds += (now() - from) / 1000;
    await pool.query('TRUNCATE message');
  }
  return { count, seconds, expected: 0 };
}
