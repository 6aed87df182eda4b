import { chownSync, existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import postgres from 'postgres';
import { endProcess } from './ending.ts';
import { processIdentity } from './identity.ts';
import { baseEnv, type Command, launch } from './launch.ts';
import { logTail } from './logs.ts';
import { type PostgresPlace, postgresPlace } from './postgres-place.ts';
import { ShopError } from './shop-error.ts';
import { waitUntil } from './wait.ts';

export interface PostgresOptions {
  /** Names the data; as root the files themselves are elsewhere (see `postgresPlace`). */
  dataDir: string;
  /** TCP port on 127.0.0.1. */
  port: number;
  superuserPassword: string;
  /** Further settings, or others than the runner's: `{ max_connections: '200' }`. */
  settings?: Record<string, string>;
}

/** A PostgreSQL ready to be started, its data folder made if there was none. */
export interface PreparedPostgres {
  command: Command;
  /** Of the superuser, in the database `postgres`. */
  url: string;
}

/** SIGINT is PostgreSQL's fast stop: connections are ended, data is flushed. SIGTERM would wait for every client to leave. */
export const POSTGRES_STOP = 'SIGINT';

/** Finds or makes the data folder and says how to start the server on it. */
export async function preparePostgres(o: PostgresOptions): Promise<PreparedPostgres> {
  const place = postgresPlace(o.dataDir);
  const data = join(place.folder, 'data');
  if (!existsSync(data)) await initialise(place, data, o.superuserPassword);
  const settings = { ...SETTINGS, port: String(o.port), ...o.settings };
  return {
    command: {
      file: place.binaries.postgres,
      args: ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      env: baseEnv(),
      cwd: place.folder,
      ...(place.user ? { user: place.user } : {}),
    },
    url: `postgres://postgres:${encodeURIComponent(o.superuserPassword)}@127.0.0.1:${o.port}/postgres`,
  };
}

/** Throws until the server takes a login of its superuser. */
export async function probePostgres(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, connect_timeout: 2, fetch_types: false, onnotice: () => {} });
  try {
    await sql`SELECT 1`;
  } catch (cause) {
    if ((cause as { code?: string }).code === '28P01')
      throw new ShopError(
        'the database was made with another password than the one in the secrets of this run folder',
        'npm start -- --fresh (begins anew, without the data)',
        { cause },
      );
    throw cause;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Starts a PostgreSQL by itself, for tests; ready when this resolves. The runner supervises its own instead. */
export async function startPostgres(
  o: PostgresOptions & { logFile: string },
): Promise<{ url: string; pid: number; stop(): Promise<void> }> {
  const { command, url } = await preparePostgres(o);
  const { pid, exited } = launch(command, o.logFile);
  const identity = pid === undefined ? undefined : processIdentity(pid);
  const stop = async () => {
    if (pid !== undefined && identity !== undefined)
      await endProcess({ pid, identity, stopSignal: POSTGRES_STOP, graceMs: 20_000 });
  };
  const died = exited.then(() => {
    throw new Error(`PostgreSQL ended at once:\n${logTail(o.logFile)}`);
  });
  const giveUp = new AbortController();
  try {
    await Promise.race([
      waitUntil('PostgreSQL', () => probePostgres(url), { timeoutMs: 20_000, signal: giveUp.signal }),
      died,
    ]);
  } catch (err) {
    giveUp.abort();
    await stop();
    throw err;
  } finally {
    died.catch(() => {});
  }
  return { url, pid: pid as number, stop };
}

/** What a small shop on one machine needs; durability stays as PostgreSQL has it (fsync and synchronous_commit on). */
const SETTINGS: Record<string, string> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  shared_buffers: '32MB',
  max_connections: '100',
  jit: 'off',
  // Workers of their own would cost memory that this load never uses.
  io_method: 'sync',
  max_parallel_workers_per_gather: '0',
  max_worker_processes: '2',
  max_logical_replication_workers: '0',
  autovacuum_max_workers: '1',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '256MB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] %q%u@%d ',
};

async function initialise(place: PostgresPlace, data: string, superuserPassword: string): Promise<void> {
  const draft = `${data}.new`;
  const passwordFile = join(place.folder, 'password.new');
  rmSync(draft, { recursive: true, force: true });
  writeFileSync(passwordFile, superuserPassword, { mode: 0o600 });
  if (place.user) chownSync(passwordFile, place.user.uid, place.user.gid);
  try {
    await execa(
      place.binaries.initdb,
      [
        ...['-D', draft, '-U', 'postgres', `--pwfile=${passwordFile}`],
        ...[
          '--auth=scram-sha-256',
          '--encoding=UTF8',
          '--locale-provider=builtin',
          '--builtin-locale=C.UTF-8',
          '--no-locale',
        ],
      ],
      {
        cwd: place.folder,
        env: baseEnv(),
        extendEnv: false,
        ...(place.user ? { uid: place.user.uid, gid: place.user.gid } : {}),
      },
    );
  } catch (cause) {
    throw new ShopError(
      `the database's folder cannot be made: ${(cause as { stderr?: string }).stderr || (cause as Error).message}`,
      'see the message above; npm run doctor names what is missing',
      { cause },
    );
  } finally {
    rmSync(passwordFile, { force: true });
  }
  renameSync(draft, data);
}
