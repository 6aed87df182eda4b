import { connectDatabase, type Database } from '@sidecart/kit/db';
import { expect } from 'vitest';
import { eventually, type Fixture } from './fixture.ts';

const NAME = 'looked-at';

/**
 * How many rows and index entries of a table, its parts included, a piece of work looks at, the dead ones too. It has a connection pool of its own,
 * as a session says what it has counted when it ends.
 */
export async function lookedAt(
  { admin, urls }: Fixture,
  table: string,
  work: (database: Database) => Promise<unknown>,
): Promise<number> {
  const counted = async () => {
    const [row] = await admin<{ n: number }[]>`
      SELECT (sum(seq_tup_read) + coalesce(sum((SELECT sum(idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid)), 0))::float8 AS n
      FROM pg_stat_user_tables t WHERE relname = ${table} OR relid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = ${table}::regclass)`;
    return row?.n ?? Number.NaN;
  };
  const sessions = () =>
    admin`SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = ${NAME}`;
  const before = await counted();
  const database = connectDatabase({ url: urls.url, applicationName: NAME, max: 2 });
  try {
    await work(database);
  } finally {
    await database.close();
  }
  await eventually(async () => expect(await sessions()).toEqual([]));
  return (await counted()) - before;
}
