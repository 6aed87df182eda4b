import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import postgres from 'postgres';
import { freePort } from '../../local/ports.ts';
import { startPostgres } from '../../local/postgres.ts';
import { databaseUrl } from '../../platform/databases.ts';
import { familyCpuSeconds } from '../machine.ts';

/** The one PostgreSQL of a run; each cell has a database of its own on it. */
export interface Server {
  /** URL of the superuser in the database `postgres`. */
  url: string;
  /** A fresh database, and the write-ahead log on the disk up to here, so that every cell begins alike. */
  createDatabase(name: string): Promise<string>;
  dropDatabase(name: string): Promise<void>;
  /** Processor seconds of the server and all its backends since its start. */
  cpuSeconds(): number;
  /** Bytes of write-ahead log since the server's beginning. */
  walBytes(): Promise<number>;
  /** Leaves a transaction open that has an id of its own, in another database than any cell's; the answer ends it. */
  openTransaction(): Promise<() => Promise<void>>;
  stop(): Promise<void>;
}

/** The shop's own embedded PostgreSQL with its settings (fsync and synchronous_commit on) and what a bench says, for all arms alike. */
export async function startServer(folder: string, settings: Record<string, string> = {}): Promise<Server> {
  const server = await startPostgres({
    dataDir: join(folder, 'data'),
    port: await freePort(),
    superuserPassword: randomBytes(12).toString('hex'),
    logFile: join(folder, 'postgres.log'),
    settings: { max_connections: '200', ...settings },
  });
  const admin = postgres(server.url, { max: 1, onnotice: () => {} });
  return {
    url: server.url,
    async createDatabase(name) {
      await admin.unsafe(`CREATE DATABASE "${name}"`);
      await admin.unsafe('CHECKPOINT');
      return databaseUrl(server.url, name);
    },
    async dropDatabase(name) {
      await admin`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = ${name} AND active`;
      // A walsender that was told to end takes a moment to give its slot back.
      for (let attempt = 0; attempt < 50; attempt += 1) {
        const held =
          await admin`SELECT FROM pg_replication_slots WHERE database = ${name} AND active_pid IS NOT NULL`;
        if (held.length === 0) break;
        await new Promise((done) => setTimeout(done, 100));
      }
      await admin`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = ${name}`;
      await admin.unsafe(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`);
    },
    cpuSeconds: () => familyCpuSeconds(server.pid),
    async walBytes() {
      const [row] = await admin<
        { bytes: string }[]
      >`SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS bytes`;
      return Number(row?.bytes);
    },
    async openTransaction() {
      const elsewhere = postgres(server.url, { max: 1, onnotice: () => {} });
      const held = await elsewhere.reserve();
      await held`BEGIN`;
      await held`SELECT pg_current_xact_id()`;
      return async () => {
        await held`ROLLBACK`;
        held.release();
        await elsewhere.end();
      };
    },
    async stop() {
      await admin.end({ timeout: 5 });
      await server.stop();
    },
  };
}
