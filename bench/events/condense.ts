import { setTimeout as sleep } from 'node:timers/promises';
import { appendEvents } from '@sidecart/event-sourcing/append';
import { tableArchive } from '@sidecart/event-sourcing/archive';
import { condenseStream } from '@sidecart/event-sourcing/condense';
import { loadStream } from '@sidecart/event-sourcing/load';
import type { Database } from '@sidecart/kit/db';
import type postgres from 'postgres';
import { shares } from '../cells/cell-child.ts';
import type { CellOutcome, Faults } from '../cells/outcome.ts';
import { now } from '../machine.ts';
import { type Account, account, accountAfter, deposited, META, STREAM_TYPE } from './account.ts';
import { type CellJob, OWN } from './cell.ts';
import { fillStream, OWN_TABLES } from './layout.ts';
import { openDatabase } from './own.ts';
import { rawClient } from './raw.ts';

/** The appender alone, before and after. */
const APART_MS = 100;
/** About as long as condensing takes. */
const UNDISTURBED_MS = 600;

interface Append {
  from: number;
  until: number;
}

/**
 * Condenses long streams, one after the other, while an appender writes to the one whose turn it is, in the same process. The meters are
 * not read, as they cannot tell condensing from appending and filling.
 */
export async function benchCondense(job: Extract<CellJob, { kind: 'condense' }>): Promise<CellOutcome> {
  await OWN_TABLES.prepare(job.url);
  const sql = rawClient(job.url, 1);
  const database = openDatabase(job.url, 4);
  const faults: Faults = [];
  const held: number[] = [];
  const all: number[] = [];
  let seconds = 0;
  // The first is not counted: its code is not compiled yet, as that of no service that runs.
  for (let turn = 0; turn <= job.streams; turn += 1) {
    const stream = `${STREAM_TYPE}-${turn}`;
    await fillStream(sql, OWN_TABLES, { stream, length: job.length, first: 0 });
    await sql.unsafe('VACUUM ANALYZE events');
    const appender = startAppender(database, stream, job.length);
    await sleep(APART_MS);
    const from = now();
    if (job.arm === OWN) await condense(database, stream);
    else await sleep(UNDISTURBED_MS);
    const until = now();
    await sleep(APART_MS);
    const { appends, failures } = await appender.stop();
    faults.push(
      ...failures,
      ...(await checkStream(sql, database, { ...job, stream, appends: appends.length })),
    );
    if (turn === 0) continue;
    seconds += (until - from) / 1000;
    const during = msDuring(appends, from, until);
    // Of no appends the longest would be -Infinity, which is below every limit.
    if (during.length === 0) faults.push(`${stream}: no append met the condensing`);
    else held.push(Math.max(...during));
    all.push(...during);
  }
  await database.close();
  await sql.end();
  return { count: job.streams * job.length, seconds, latencies: shares(held), during: shares(all), faults };
}

/** How long each append took that was under way at some time between. */
export function msDuring(appends: readonly Append[], from: number, until: number): number[] {
  return appends.filter((one) => one.until > from && one.from < until).map((one) => one.until - one.from);
}

const condense = (database: Database, stream: string) =>
  condenseStream({ database, aggregate: account, archive: tableArchive, topics: ['accounts'] }, stream, {
    by: 'bench',
    reason: 'to see how long appenders are held',
  });

function startAppender(database: Database, streamId: string, length: number) {
  const appends: Append[] = [];
  const failures: Faults = [];
  let stopping = false;
  const run = async () => {
    while (!stopping) {
      const version = length + appends.length;
      const events = [deposited(version)];
      const from = now();
      try {
        await database.db.transaction((tx) =>
          appendEvents(tx, account, { streamId, expectedVersion: version, events, meta: META }),
        );
      } catch (err) {
        failures.push(`an append failed beside condensing: ${(err as Error).message}`);
        return;
      }
      appends.push({ from, until: now() });
    }
  };
  const running = run();
  return {
    async stop() {
      stopping = true;
      await running;
      return { appends, failures };
    },
  };
}

/** The archive and what is left are together all events, and the state is that of all events in their order. */
async function checkStream(
  sql: postgres.Sql,
  database: Database,
  o: { arm: string; stream: string; length: number; appends: number },
): Promise<Faults> {
  const { stream, length, appends } = o;
  const total = length + appends;
  const [row] = await sql.unsafe(
    `SELECT (SELECT count(*) FROM events WHERE stream_id = $1 AND type <> '$Condensed')::int AS live,
       (SELECT coalesce(max(version), 0) FROM events WHERE stream_id = $1 AND type = '$Condensed')::int AS condensed,
       (SELECT coalesce(min(version), 0) FROM events WHERE stream_id = $1 AND type <> '$Condensed')::int AS first,
       (SELECT version FROM streams WHERE stream_id = $1)::int AS version,
       (SELECT coalesce(sum(events), 0) FROM events_archive WHERE stream_id = $1)::int AS archived`,
    [stream],
  );
  const { state, version } = await loadStream<Account>(database.db, account, stream);
  const wanted = accountAfter(total);
  const checks: [boolean, string][] = [
    [
      row?.live + row?.archived === total,
      `${row?.live} events and ${row?.archived} archived ones of ${total}`,
    ],
    [row?.first === row?.condensed + 1, `the first event after version ${row?.condensed} is ${row?.first}`],
    [o.arm !== OWN || row?.condensed >= length, 'was not condensed'],
    [row?.version === total && version === total, `is at version ${row?.version} after ${total} events`],
    [
      state.events === wanted.events && state.pence === wanted.pence && state.trail === wanted.trail,
      'has another state than its events make',
    ],
  ];
  return checks.filter(([right]) => !right).map(([, what]) => `${stream}: ${what}`);
}
