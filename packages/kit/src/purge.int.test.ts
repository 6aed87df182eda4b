import { type SQL, sql } from 'drizzle-orm';
import { integer, pgTable } from 'drizzle-orm/pg-core';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../../../tests/postgres.ts';
import { connectDatabase, type Database } from './db.ts';
import { purgeByPages, purgeOf } from './purge.ts';

const note = pgTable('note', { n: integer('n').notNull() });
/** On each page some are old and some are not. */
const old = sql`n % 2 = 1`;
const ROWS = 2000;

let base: TestDatabase;
let database: Database;
beforeAll(async () => {
  base = await testDatabase('kit_purge');
  database = connectDatabase({ url: base.ownerUrl, applicationName: 'owner' });
  await database.sql.unsafe(`
    CREATE TABLE note (n integer NOT NULL);
    CREATE TABLE statement (id serial, deleted integer);
    CREATE FUNCTION count_gone() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN INSERT INTO statement (deleted) SELECT count(*) FROM gone; RETURN NULL; END';
    CREATE TRIGGER count_gone AFTER DELETE ON note REFERENCING OLD TABLE AS gone
      FOR EACH STATEMENT EXECUTE FUNCTION count_gone()`);
});
beforeEach(async () => {
  await database.sql.unsafe(`TRUNCATE note, statement; INSERT INTO note SELECT generate_series(1, ${ROWS})`);
});
afterAll(async () => {
  await database?.close();
  await base?.drop();
});

/** How many rows each statement deleted. */
const statements = async () =>
  (await database.sql<{ deleted: number }[]>`SELECT deleted FROM statement ORDER BY id`).map(
    ({ deleted }) => deleted,
  );
const pagesOfNote = async () => {
  const [row] = await database.sql<{ pages: number }[]>`
    SELECT (pg_relation_size('note') / current_setting('block_size')::int)::int AS pages`;
  return row?.pages as number;
};

test('goes over each page once, and deletes what is old and only that', async () => {
  const pages = await pagesOfNote();
  expect(pages).toBeGreaterThan(5);
  expect(await purgeByPages(database.db, note, old, { pages: 2 })).toBe(ROWS / 2);
  const deleted = await statements();
  expect(deleted).toHaveLength(Math.ceil(pages / 2));
  expect(Math.min(...deleted)).toBeGreaterThan(0);
  expect(await database.sql`SELECT count(*)::int AS left, bool_and(n % 2 = 0) AS fresh FROM note`).toEqual([
    { left: ROWS / 2, fresh: true },
  ]);
});

test('control: a small table is one statement, and an empty one none', async () => {
  expect(await purgeByPages(database.db, note, old)).toBe(ROWS / 2);
  expect(await statements()).toEqual([ROWS / 2]);
  await database.sql`TRUNCATE note, statement`;
  expect(await purgeByPages(database.db, note, old)).toBe(0);
  expect(await statements()).toEqual([]);
});

test('ends between two statements when it is told to', async () => {
  expect(await purgeByPages(database.db, note, old, { pages: 1, signal: AbortSignal.abort() })).toBe(0);
  expect(await statements()).toEqual([]);
});

/** Pages that a statement read. */
async function pagesRead(statement: SQL): Promise<number> {
  const [row] = await database.db.execute<{ 'QUERY PLAN': { Plan: Plan }[] }>(
    sql`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${statement}`,
  );
  const [
    {
      Plans: [scan],
    } = {} as Plan,
  ] = row?.['QUERY PLAN'].map(({ Plan }) => Plan) ?? [];
  return (scan?.['Shared Hit Blocks'] ?? Number.NaN) + (scan?.['Shared Read Blocks'] ?? Number.NaN);
}
interface Plan {
  'Shared Hit Blocks': number;
  'Shared Read Blocks': number;
  Plans: Plan[];
}

test('a statement reads its own pages and no others, however big the table is', async () => {
  const pages = await pagesOfNote();
  expect(await pagesRead(purgeOf(note, sql`n < 0`, 2, 4))).toBe(2);
  // The control: the same question without the places.
  expect(await pagesRead(sql`DELETE FROM note WHERE n < 0`)).toBeGreaterThanOrEqual(pages);
});
