import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import postgres from 'postgres';
import { CLOSE_DEFAULT_DATABASES, databaseRoleStatements } from '../generator/database-roles.ts';
import type { ShopSecrets } from './secrets.ts';

/** Same server, another database and login. */
export function databaseUrl(
  adminUrl: string,
  database: string,
  login?: { user: string; password: string },
): string {
  const url = new URL(adminUrl);
  url.pathname = `/${database}`;
  if (login) {
    url.username = login.user;
    url.password = login.password;
  }
  return url.href;
}

/** The two logins of a service's own database. */
export function serviceUrls(adminUrl: string, service: string, secrets: ShopSecrets) {
  const passwords = secrets.databases[service];
  if (!passwords) throw new Error(`${service} has no database`);
  return {
    app: databaseUrl(adminUrl, service, { user: `${service}_app`, password: passwords.appPassword }),
    owner: databaseUrl(adminUrl, service, { user: `${service}_owner`, password: passwords.ownerPassword }),
  };
}

/** Gives every service its database and roles; safe to repeat. */
export async function ensureDatabases(adminUrl: string, databases: ShopSecrets['databases']): Promise<void> {
  await withSql(adminUrl, async (sql) => {
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

/** Whether the newest migration of the folder is not yet in the database. The migrator itself asks the same, but costs a process. */
export async function migrationsPending(
  adminUrl: string,
  database: string,
  folder: string,
): Promise<boolean> {
  const journal = join(folder, 'meta', '_journal.json');
  if (!existsSync(journal)) return false;
  const { entries } = JSON.parse(readFileSync(journal, 'utf8')) as { entries: { when: number }[] };
  const newest = entries.at(-1)?.when;
  if (newest === undefined) return false;
  return withSql(databaseUrl(adminUrl, database), async (sql) => {
    const [table] = await sql`SELECT to_regclass('drizzle.__drizzle_migrations') AS found`;
    if (!table?.found) return true;
    const [row] = await sql`SELECT max(created_at) AS newest FROM drizzle.__drizzle_migrations`;
    return Number(row?.newest ?? 0) < newest;
  });
}

async function withSql<T>(url: string, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, connect_timeout: 5, fetch_types: false, onnotice: () => {} });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
