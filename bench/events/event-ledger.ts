import type postgres from 'postgres';
import type { Faults } from '../cells/outcome.ts';
import type { Layout } from './layout.ts';

/** What the tables say of a cell's events. */
export interface Found {
  events: number;
  /** Different event ids, and different numbers. */
  ids: number;
  numbers: number;
  /** Streams whose versions are not 1, 2, 3 up to their last. */
  gaps: number;
  /** Streams whose row says another version than their last event. */
  heads: number;
  /** Events that are in another order by position or number than by version. */
  disorder: number;
}

export function faultsOf(found: Found, written: number): Faults {
  const faults: [number, string][] = [
    [written - found.events, 'events lost'],
    [found.events - written, 'events that nobody wrote'],
    [found.events - found.ids, 'event ids more than once'],
    [found.events - found.numbers, 'events more than once'],
    [found.gaps, 'streams with a gap'],
    [found.heads, 'streams with another version than their last event'],
    [found.disorder, 'events out of order'],
  ];
  return faults.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
}

/** Whether every event is there once and every stream whole. */
export async function checkEvents(sql: postgres.Sql, layout: Layout, written: number): Promise<Faults> {
  const [found] = (await sql.unsafe(`
    WITH e AS MATERIALIZED (${layout.events}), s AS (${layout.streams}),
    per AS (SELECT stream, count(*) AS events, min(version) AS first, max(version) AS last FROM e GROUP BY stream),
    ordered AS (
      SELECT pos < lag(pos) OVER w OR n < lag(n) OVER w AS wrong FROM e WINDOW w AS (PARTITION BY stream ORDER BY version)
    )
    SELECT (SELECT count(*) FROM e)::int AS events, (SELECT count(DISTINCT id) FROM e)::int AS ids,
      (SELECT count(DISTINCT n) FROM e)::int AS numbers,
      (SELECT count(*) FROM per WHERE first <> 1 OR last <> events)::int AS gaps,
      (SELECT count(*) FROM s FULL JOIN per USING (stream) WHERE s.version IS DISTINCT FROM per.last)::int AS heads,
      (SELECT count(*) FROM ordered WHERE wrong)::int AS disorder`)) as unknown as [Found];
  return faultsOf(found, written);
}
