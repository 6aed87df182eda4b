import type postgres from 'postgres';
import type { Queue } from './floors.ts';

/**
 * How many rows of a queue were looked at so far by way of its index, those too that were deleted and are not vacuumed, and how many
 * by going through the table; by sessions that have ended.
 */
export async function entriesRead(
  admin: postgres.Sql,
  queue: Queue,
): Promise<{ byIndex: number; bySeqScan: number }> {
  const [row] = await admin<{ byIndex: number; bySeqScan: number }[]>`
    SELECT i.idx_tup_read::int AS "byIndex", t.seq_tup_read::int AS "bySeqScan"
    FROM pg_stat_user_indexes i JOIN pg_stat_user_tables t USING (relid) WHERE i.indexrelname = ${`${queue}_pkey`}`;
  return row ?? { byIndex: 0, bySeqScan: 0 };
}
