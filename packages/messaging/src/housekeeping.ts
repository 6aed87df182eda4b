import type { Database } from '@sidecart/kit/db';
import { codesOf } from '@sidecart/kit/db-errors';
import { openPostgres } from '@sidecart/kit/db-socket';
import type { Health } from '@sidecart/kit/health';
import { purgeIdempotencyKeys } from '@sidecart/kit/idempotency';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import { sql } from 'drizzle-orm';
import { reportDeadLetters } from './dead-letter-report.ts';
import { createHousekeepingReport } from './housekeeping-report.ts';
import { purgeInbox } from './inbox.ts';
import { SENT_DAYS } from './limits.ts';
import { type Repetition, repeat } from './repeat.ts';

export interface HousekeepingOptions {
  database: Database;
  log: Logger;
  metrics: Metrics;
  health: Health;
  /** Time between two purges; default one hour. */
  purgeMs?: number;
  /** Time between two counts of the dead letters; default 15 s. */
  reportMs?: number;
  /** A chore that failed is tried again after so long, if it is not due before; default one minute. */
  retryMs?: number;
}

/** For a rotation of `sent` that takes longer than a statement may, in ms. */
const ROTATION_MS = 600_000;
/** What the server calls it when that is over. */
const QUERY_CANCELED = '57014';

/**
 * Deletes what no one can ask for any more (inbox rows after 8 days, sent messages after 7, idempotency keys after 24 hours), makes
 * the parts of `sent` for the next days, and keeps the number of dead letters up to date. Tables that this service does not have are left out. A database that is away is
 * waited for. A chore that goes on failing shows in the health details: unseen, tables would grow until the disk is full.
 */
export function createHousekeeping(o: HousekeepingOptions): Worker {
  const { db } = o.database;
  const report = createHousekeepingReport(o);
  let repetitions: Repetition[] = [];

  async function exists(table: string): Promise<boolean> {
    const [row] = await db.execute<{ present: boolean }>(
      sql`SELECT to_regclass(${table}) IS NOT NULL AS present`,
    );
    return row?.present ?? false;
  }

  async function purge(table: string, of: typeof purgeInbox, signal: AbortSignal): Promise<void> {
    if (!(await exists(table))) return;
    const rows = await of(db, { signal });
    if (rows > 0) o.log.info({ table, rows }, 'Purged');
  }

  /** Where no parts could be made for days, all of a day moves in one statement, which would never be done in the time that those of the pool have. */
  async function rotate(signal: AbortSignal): Promise<void> {
    if (!(await exists('sent'))) return;
    try {
      await db.execute(sql`SELECT rotate_sent(${SENT_DAYS}::int)`);
    } catch (err) {
      if (!codesOf(err).includes(QUERY_CANCELED)) throw err;
      if (signal.aborted) return;
      o.log.warn('No parts of sent were made for days: what has none moves now, and publishing waits for it');
      await rotateLong(signal);
    }
  }

  async function rotateLong(signal: AbortSignal): Promise<void> {
    const own = openPostgres(o.database.url, {
      max: 1,
      connect_timeout: 5,
      connection: {
        application_name: o.database.applicationName,
        statement_timeout: ROTATION_MS,
        client_connection_check_interval: 1000, // a stop ends the statement on the server too
      },
    });
    const end = () => void own.end({ timeout: 0 });
    signal.addEventListener('abort', end);
    try {
      await own`SELECT rotate_sent(${SENT_DAYS}::int)`;
    } finally {
      signal.removeEventListener('abort', end);
      await own.end({ timeout: 0 });
    }
  }

  async function countDead(): Promise<void> {
    if (await exists('dead_letter')) await reportDeadLetters(o);
  }

  function chore(name: string, ms: number, work: (signal: AbortSignal) => Promise<void>): Repetition {
    const reported = async (signal: AbortSignal) => {
      await work(signal);
      report.worked(name);
    };
    const onError = (err: unknown) => report.failed(name, err);
    return repeat(ms, reported, onError, Math.min(ms, o.retryMs ?? 60_000));
  }

  return {
    name: 'housekeeping',
    start() {
      const purgeMs = o.purgeMs ?? 3_600_000;
      repetitions = [
        chore('rotation of sent', purgeMs, rotate),
        chore('purge of inbox', purgeMs, (signal) => purge('inbox', purgeInbox, signal)),
        chore('purge of idempotency_key', purgeMs, (signal) =>
          purge('idempotency_key', purgeIdempotencyKeys, signal),
        ),
        chore('count of dead letters', o.reportMs ?? 15_000, countDead),
      ];
    },
    async stop() {
      await Promise.all(repetitions.map((repetition) => repetition.stop()));
    },
  };
}
