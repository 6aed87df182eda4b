import type postgres from 'postgres';
import type { Faults } from '../cells/outcome.ts';
import type { Layout } from './layout.ts';

// The read model that is built anew: a row for each account, which also tells when an event came twice, not at all or too early.

export const VIEW = 'account_view';
/** Of the rows that are read meanwhile, and of those that are built beside them. */
export const LIVE = 1;
export const REBUILT = 2;

export const VIEW_TABLE = `CREATE TABLE ${VIEW} (
  generation int NOT NULL, id text NOT NULL, events int NOT NULL, pence bigint NOT NULL, first_version bigint NOT NULL,
  last_version bigint NOT NULL, disorder int NOT NULL, PRIMARY KEY (generation, id))`;

/** A row that is there goes on after its last version, one that is not begins with 1. */
const CONFLICT = `ON CONFLICT (generation, id) DO UPDATE SET events = v.events + excluded.events, pence = v.pence + excluded.pence,
  last_version = excluded.last_version,
  disorder = v.disorder + excluded.disorder - (excluded.first_version <> 1)::int + (excluded.first_version <> v.last_version + 1)::int`;

export const UPSERT = `
  INSERT INTO ${VIEW} AS v (generation, id, events, pence, first_version, last_version, disorder)
  SELECT $1::text::int, id, events, pence, first, last, disorder + (first <> 1)::int
  FROM json_to_recordset($2::text::json) AS e (id text, events int, pence bigint, first bigint, last bigint, disorder int)
  ${CONFLICT}`;

/** The same for one event. */
export const upsertOne = (id: string, pence: number, version: number) =>
  `INSERT INTO ${VIEW} AS v (generation, id, events, pence, first_version, last_version, disorder)
   VALUES (${REBUILT}, '${id.replaceAll("'", "''")}', 1, ${pence}, ${version}, ${version}, ${version === 1 ? 0 : 1}) ${CONFLICT}`;

export interface PageRow {
  stream_id: string;
  version: number;
  data: { pence: number };
}

interface ViewRow {
  id: string;
  events: number;
  pence: number;
  first: number;
  last: number;
  disorder: number;
}

/** What a page of events adds to the rows. */
export function foldPage(rows: Iterable<PageRow>): ViewRow[] {
  const view = new Map<string, ViewRow>();
  for (const { stream_id: id, version, data } of rows) add(view, id, version, data.pence);
  return [...view.values()];
}

export function add(view: Map<string, ViewRow>, id: string, version: number, pence: number): void {
  const row = view.get(id);
  if (!row) {
    view.set(id, { id, events: 1, pence, first: version, last: version, disorder: 0 });
    return;
  }
  row.events += 1;
  row.pence += pence;
  if (version !== row.last + 1) row.disorder += 1;
  row.last = version;
}

/** The read model as SQL makes it of the events. */
export const viewBySql = (layout: Layout, generation: number) => `
  SELECT ${generation} AS generation, stream AS id, count(*)::int AS events, sum(pence)::bigint AS pence,
    min(version) AS first_version, max(version) AS last_version, 0 AS disorder
  FROM (${layout.events}) AS e GROUP BY stream`;

/** Whether what was built is what SQL makes of the events, row by row. */
export async function checkView(sql: postgres.Sql, layout: Layout): Promise<Faults> {
  const columns = 'id, events, pence, last_version, disorder';
  const built = `SELECT ${columns} FROM ${VIEW} WHERE generation = ${REBUILT}`;
  const wanted = `SELECT ${columns} FROM (${viewBySql(layout, REBUILT)}) AS w`;
  const [row] = await sql.unsafe(`
    SELECT (SELECT count(*) FROM (${built} EXCEPT ${wanted}) AS d)::int AS wrong,
      (SELECT count(*) FROM (${wanted} EXCEPT ${built}) AS d)::int AS missing`);
  const faults: [number, string][] = [
    [Number(row?.wrong), 'rows of the read model are not what SQL makes of the events'],
    [Number(row?.missing), 'rows of the read model are missing'],
  ];
  return faults.filter(([count]) => count !== 0).map(([count, what]) => `${count} ${what}`);
}
