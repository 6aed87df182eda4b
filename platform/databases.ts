import { openPostgres } from '@sidecart/kit/db-socket';
import type postgres from 'postgres';
import { CLOSE_DEFAULT_DATABASES, databaseRoleStatements } from './database-roles.ts';

/** The passwords of the two logins that each service's database has, by service. */
export type DatabasePasswords = Record<string, { ownerPassword: string; appPassword: string }>;

/** Same server, another database and login. */
export function databaseUrl(
  adminUrl: string,
  database: string,
  login?: { user: string; password: string },
): string {
  const url = new URL(adminUrl);
  url.pathname = `/${database}`;
  if (login) {
    url.username = encodeURIComponent(login.user);
    url.password = encodeURIComponent(login.password);
  }
  return url.href;
}

/** Any number will do, as long as every version of this project uses the same. */
const LOCK = 7001;

/** Gives every service its database and roles; safe to repeat, and of two at once the second waits for the first. */
export async function ensureDatabases(adminUrl: string, databases: DatabasePasswords): Promise<void> {
  await withSql(adminUrl, async (sql) => {
    await sql`SELECT pg_advisory_lock(${LOCK})`; // it goes with the connection
    for (const statement of CLOSE_DEFAULT_DATABASES) await sql.unsafe(statement);
    const rows = await sql<{ datname: string }[]>`SELECT datname FROM pg_database`;
    const existing = new Set(rows.map((row) => row.datname));
    for (const [name, passwords] of Object.entries(databases)) {
      const { server, inDatabase } = databaseRoleStatements(name, passwords, existing.has(name));
      for (const statement of server) await sql.unsafe(statement);
      await withSql(databaseUrl(adminUrl, name), async (inside) => {
        for (const statement of inDatabase) await inside.unsafe(statement);
      });
    }
  });
}

/** Runs `work` on one connection of its own. */
export async function withSql<T>(url: string, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = openPostgres(url, { max: 1, connect_timeout: 5, fetch_types: false, onnotice: () => {} });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
