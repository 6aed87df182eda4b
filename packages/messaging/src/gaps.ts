import type { Database } from '@sidecart/kit/db';
import { type SQL, sql } from 'drizzle-orm';
import { type Edge, longAgo } from './repair-state.ts';

/** A key that waits for a message that is no dead letter and was not set aside. */
export interface Gap {
  key: string;
  /** The numbers that are missing before the first of those that wait. */
  from: bigint;
  to: bigint;
  /** It has waited for so long that what its sender does not keep will not come. */
  over: boolean;
}

/** Gaps that have waited for `graceMs`, and not for `lostMs` yet; so many of them by chance. */
export async function freshGaps(
  { db }: Database,
  edge: Edge,
  { graceMs, lostMs }: { graceMs: number; lostMs: number },
  limit: number,
): Promise<Gap[]> {
  const rows = await db.execute<GapRow>(sql`
    ${gapsOf(edge)} AND NOT ${isOver(lostMs)} AND ${longAgo(sql`p.parked_at`, graceMs)}
    ORDER BY random() LIMIT ${limit}`);
  return rows.map((row) => toGap(row, false));
}

/**
 * Gaps that have waited for `lostMs`: the first so many behind a key, in the order of keys. Whoever goes on behind the last of them
 * meets each once, also those that stay.
 */
export async function gapsThatAreOver(
  { db }: Database,
  edge: Edge,
  { lostMs, behind }: { lostMs: number; behind: string },
  limit: number,
): Promise<Gap[]> {
  const rows = await db.execute<GapRow>(sql`
    ${gapsOf(edge)} AND ${isOver(lostMs)} AND k.msg_key > ${behind}
    ORDER BY k.msg_key LIMIT ${limit}`);
  return rows.map((row) => toGap(row, true));
}

/** What was set aside is not missing: a gap ends before it. */
const gapsOf = ({ topic, sender }: Edge): SQL => sql`
  SELECT k.msg_key, (k.last_seq + 1)::text AS from, (least(p.seq, aside.seq) - 1)::text AS to
  FROM inbox_key k CROSS JOIN LATERAL (
    SELECT seq, parked_at FROM inbox_parked p
    WHERE p.topic = k.topic AND p.sender = k.sender AND p.msg_key = k.msg_key ORDER BY seq LIMIT 1) AS p
  CROSS JOIN LATERAL (
    SELECT min(key_seq) AS seq FROM inbox_failing f
    WHERE f.topic = k.topic AND f.sender = k.sender AND f.msg_key = k.msg_key AND f.key_seq > k.last_seq AND NOT f.passed) AS aside
  WHERE k.waiting > 0 AND k.topic = ${topic} AND k.sender = ${sender} AND least(p.seq, aside.seq) > k.last_seq + 1
    AND NOT EXISTS (
      SELECT FROM dead_letter d WHERE d.state = 'waiting' AND d.holds_key AND d.topic = k.topic
        AND d.sender = k.sender AND d.msg_key = k.msg_key AND d.key_seq = k.last_seq + 1)`;

/** Not when nobody knows for how long it has waited: then it is only looked at. */
const isOver = (lostMs: number): SQL =>
  sql`(p.parked_at < clock_timestamp() - make_interval(secs => ${lostMs / 1000}))`;

interface GapRow extends Record<string, unknown> {
  msg_key: string;
  from: string;
  to: string;
}

const toGap = ({ msg_key, from, to }: GapRow, over: boolean): Gap => ({
  key: msg_key,
  from: BigInt(from),
  to: BigInt(to),
  over,
});
