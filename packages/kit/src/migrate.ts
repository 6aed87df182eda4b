import { drizzle } from 'drizzle-orm/postgres-js';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { openPostgres } from './db-socket.ts';
import { createLogger } from './log.ts';

/** Any number will do, as long as every version of this project uses the same. */
const MIGRATION_LOCK = 7000;

/** How long a migration waits for a table that somebody uses, in ms. Then it fails, and is repeated by who started it. */
const LOCK_TIMEOUT_MS = 2000;

/**
 * Brings the database at `url` (the owner's role) to the newest migration in folder `dir`. Of two at once the second
 * waits for the first and then finds nothing to do. Migrations run in one transaction: all or none.
 */
export async function migrateDatabase(url: string, dir: string): Promise<void> {
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
    await migrate(drizzle(sql), { migrationsFolder: dir });
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
