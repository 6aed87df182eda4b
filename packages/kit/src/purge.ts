import type { SQL } from 'drizzle-orm';
import type { Executor } from './db.ts';

export interface PurgeOptions {
  /** Rows in one statement, default 50 000: all of a busy hour, or of a time when nobody purged, takes longer than a statement may. */
  rows?: number;
  /** Ends it between two statements. */
  signal?: AbortSignal;
}

/** Runs a DELETE of at most so many rows until it finds fewer; returns how many were deleted. */
export async function purgeInParts(
  db: Executor,
  part: (rows: number) => SQL,
  { rows = 50_000, signal }: PurgeOptions = {},
): Promise<number> {
  for (let purged = 0; ; ) {
    const { count } = await db.execute(part(rows));
    purged += count;
    if (count < rows || signal?.aborted) return purged;
  }
}
