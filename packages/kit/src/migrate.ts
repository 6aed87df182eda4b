import { setTimeout as sleep } from 'node:timers/promises';
import { drizzle } from 'drizzle-orm/postgres-js';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { codesOf } from './db-errors.ts';
import { openPostgres } from './db-socket.ts';
import { createLogger } from './log.ts';

/** Any number will do, as long as every version of this project uses the same. */
const MIGRATION_LOCK = 7000;

/**
 * How long a migration waits for a table that somebody uses, in ms. Every statement of the running version queues behind it, so
 * it is far below what a request may take, and below PostgreSQL's second before it looks for a deadlock: the migration gives way.
 */
const LOCK_TIMEOUT_MS = 200;
/** Then it lets go of all it has, so that whoever waited gets through, and begins anew. */
const PAUSE_MS = 300;
/** How long it goes on like that, in ms. Then it fails, and is repeated by who started it. */
const PATIENCE_MS = 30_000;
/** Lock not available, deadlock detected. */
const IN_THE_WAY = new Set(['55P03', '40P01']);

/**
 * Brings the database at `url` (the owner's role) to the newest migration in folder `dir`. Of two at once the second
 * waits for the first and then finds nothing to do. Migrations run in one transaction: all or none. A table that is in use is
 * tried again and again, for `patienceMs`.
 * @throws what PostgreSQL said, in the end `55P03` (lock not available) of a table that never was free.
 */
export async function migrateDatabase(
  url: string,
  dir: string,
  { patienceMs = PATIENCE_MS } = {},
): Promise<void> {
  const sql = openPostgres(url, {
    max: 1, // the lock below belongs to a session: everything must run on that one
    connect_timeout: 5,
    onnotice: () => {},
    connection: { application_name: 'migrate' },
  });
  try {
    await sql`select pg_advisory_lock(${MIGRATION_LOCK})`;
    // A change that waits for a table makes every statement behind it wait too, those of the running version included.
    await sql.unsafe(`set lock_timeout = ${LOCK_TIMEOUT_MS}`);
    const end = performance.now() + patienceMs;
    for (;;) {
      try {
        await migrate(drizzle(sql), { migrationsFolder: dir });
        return;
      } catch (err) {
        if (performance.now() > end || !codesOf(err).some((code) => IN_THE_WAY.has(code))) throw err;
        await sleep(PAUSE_MS * (0.5 + Math.random()));
      }
    }
  } finally {
    await sql.end({ timeout: 5 }); // the lock goes with the session
  }
}

/**
 * As a program: migrates DATABASE_URL (owner) with the folder MIGRATIONS_DIR. A short-lived child of its own, so that
 * drizzle's memory goes with it and no app ever holds the owner's password.
 */
async function main(env: NodeJS.ProcessEnv): Promise<void> {
  const log = createLogger({ service: 'migrate', level: env.LOG_LEVEL ?? 'info' });
  const { DATABASE_URL: url, MIGRATIONS_DIR: dir } = env;
  // As process 1 of a container a signal without a handler would do nothing. The server undoes what was begun.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(143));
  try {
    if (!url || !dir) throw new Error('DATABASE_URL and MIGRATIONS_DIR must be set');
    await migrateDatabase(url, dir);
    log.info({ dir }, 'migrated');
  } catch (err) {
    log.fatal({ err, dir }, 'migration failed, nothing was changed');
    process.exitCode = 1;
  }
}

// biome-ignore lint/style/noProcessEnv: this file is a program's entry as well
if (import.meta.main) await main(process.env);
