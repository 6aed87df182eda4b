import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';

// biome-ignore lint/performance/noBarrelFile: they belong to this API; their own file keeps kit/problem free of drizzle
export { isIntegrityViolation, isTransientDbError } from './db-errors.ts';

/** A pool of connections, seen twice: as postgres.js tagged templates and through drizzle. */
export interface Database {
  sql: postgres.Sql;
  db: PostgresJsDatabase;
  /** What it was opened with, password included: for a worker that needs a connection outside of the pool. */
  url: string;
  /** Waits up to 5 s for running statements, then closes every connection. */
  close(): Promise<void>;
}

/** drizzle's transaction, as `db.transaction(async (tx) => ...)` hands it out. */
export type Transaction = Parameters<Parameters<PostgresJsDatabase['transaction']>[0]>[0];
/** Whatever runs a query: the pool or a transaction. */
export type Executor = PostgresJsDatabase | Transaction;

export interface DatabaseOptions {
  url: string;
  /** Seen in pg_stat_activity. */
  applicationName: string;
  /** Connections at most; default 5. */
  max?: number;
  /** Default 3000. */
  statementTimeoutMs?: number;
  /** Default 2000. */
  lockTimeoutMs?: number;
  /** Default 2. */
  connectTimeoutS?: number;
}

/**
 * Opens a pool; connects at the first query and again by itself after a loss. While the database is away a query
 * fails within the connect timeout, at once when the connection is refused.
 */
export function connectDatabase(o: DatabaseOptions): Database {
  const statementTimeoutMs = o.statementTimeoutMs ?? 3000;
  const sql = postgres(o.url, {
    max: o.max ?? 5,
    connect_timeout: o.connectTimeoutS ?? 2,
    backoff: () => 0.1,
    onnotice: () => {},
    connection: {
      application_name: o.applicationName,
      statement_timeout: statementTimeoutMs,
      lock_timeout: o.lockTimeoutMs ?? 2000,
      idle_in_transaction_session_timeout: statementTimeoutMs * 2,
    },
  });
  return { sql, db: drizzle(sql), url: o.url, close: () => sql.end({ timeout: 5 }) };
}
