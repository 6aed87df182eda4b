import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { databaseUrl, withSql } from '../platform/databases.ts';
import type { ShopSecrets } from './secrets.ts';

/** The two logins of a service's own database. */
export function serviceUrls(adminUrl: string, service: string, secrets: ShopSecrets) {
  const passwords = secrets.databases[service];
  if (!passwords) throw new Error(`${service} has no database`);
  return {
    app: databaseUrl(adminUrl, service, { user: `${service}_app`, password: passwords.appPassword }),
    owner: databaseUrl(adminUrl, service, { user: `${service}_owner`, password: passwords.ownerPassword }),
  };
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
