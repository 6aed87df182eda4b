import { getTableName, type SQL, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import type { Executor } from './db.ts';

export interface PurgeOptions {
  /** Pages of 8 KiB that one statement looks at, default 500: all of a big table takes longer than a statement may. */
  pages?: number;
  /** Ends it between two statements. */
  signal?: AbortSignal;
}

/**
 * Deletes the rows that are `old`, and returns how many. Goes once over the table, page after page: that needs no index, which every insert would
 * pay for, and each statement is short, whatever the size of the table and however much of it is old. What comes meanwhile is not looked at.
 */
export async function purgeByPages(
  db: Executor,
  table: PgTable,
  old: SQL,
  { pages = 500, signal }: PurgeOptions = {},
): Promise<number> {
  const [size] = await db.execute<{ pages: number }>(sql`
    SELECT (pg_relation_size(${getTableName(table)}::text::regclass) / current_setting('block_size')::int)::float8 AS pages`);
  let purged = 0;
  for (let from = 0; from < (size?.pages ?? 0) && !signal?.aborted; from += pages) {
    purged += (await db.execute(purgeOf(table, old, from, from + pages))).count;
  }
  return purged;
}

/** Of a row that is changed while this waits for it, `old` is asked again. */
export const purgeOf = (table: PgTable, old: SQL, from: number, to: number): SQL => sql`
  DELETE FROM ${table} WHERE ctid >= ${`(${from},0)`}::text::tid AND ctid < ${`(${to},0)`}::text::tid AND ${old}`;
