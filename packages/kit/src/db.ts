import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import type postgres from 'postgres';
import { createPool } from './db-pool.ts';

// biome-ignore lint/performance/noBarrelFile: they belong to this API; their own file keeps kit/problem free of drizzle
export { isIntegrityViolation, isTransientDbError } from './db-errors.ts';

/** A pool of connections, seen twice: as postgres.js tagged templates and through drizzle. */
export interface Database {
  sql: postgres.Sql;
  db: PostgresJsDatabase;
  /** What it was opened with, password included: for a worker that needs a connection outside of the pool. */
  url: string;
  /** By what it is seen in pg_stat_activity: the instance's name. */
  applicationName: string;
  /** Calls `listener` after each transaction of this pool that was committed: the moment to look at the outbox. */
  onCommit(listener: () => void): void;
  /** Calls the listeners for a statement that was a transaction by itself: of those only who ran it knows what it has written. */
  committed(): void;
  /** Waits up to 5 s for running statements, then closes every connection. */
  close(): Promise<void>;
}

/** drizzle's transaction, as `db.transaction(async (tx) => ...)` hands it out. */
export type Transaction = Parameters<Parameters<PostgresJsDatabase['transaction']>[0]>[0];
/** Whatever runs a query: the pool or a transaction. */
export type Executor = PostgresJsDatabase | Transaction;

/** What a service has at most, unless it says otherwise. */
export const POOL_CONNECTIONS = 5;

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database`; TLS by sslmode and sslrootcert as in libpq (see db-url.ts), default none. */
  url: string;
  /** Seen in pg_stat_activity. */
  applicationName: string;
  /** Connections at most; default POOL_CONNECTIONS. */
  max?: number;
  /** Default 3000. */
  statementTimeoutMs?: number;
  /** Default 2000. */
  lockTimeoutMs?: number;
  /** Default 2. */
  connectTimeoutS?: number;
}

/**
 * Opens a pool; connects at the first query. While the database is away a query fails within the connect timeout, at
 * once when the connection is refused; the first query after its return succeeds. A server that stops answering is
 * given up 2 s after the statement timeout; a job that gets no connection within 5 s fails. A server that speaks no TLS
 * although the URL wants it, or whose certificate is not trusted, fails each query with an error that is not transient.
 *
 * @throws Error for a URL that is none, or that wants something of TLS that there is not.
 *
 * @example
 * const { db, close } = connectDatabase({ url, applicationName: 'orders' });
 * await db.transaction(async (tx) => { await tx.insert(orders).values(order); });
 */
export function connectDatabase(o: DatabaseOptions): Database {
  const { sql, onCommit, committed, close } = createPool({
    url: o.url,
    applicationName: o.applicationName,
    max: o.max ?? POOL_CONNECTIONS,
    statementTimeoutMs: o.statementTimeoutMs ?? 3000,
    lockTimeoutMs: o.lockTimeoutMs ?? 2000,
    connectTimeoutS: o.connectTimeoutS ?? 2,
  });
  return {
    sql,
    db: drizzle(sql),
    url: o.url,
    applicationName: o.applicationName,
    onCommit,
    committed,
    close,
  };
}
