import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { inject } from 'vitest';
import { databaseRoleStatements } from '../platform/database-roles.ts';

/** A database of its own on the shared test server, with the same two roles that a service has. */
export interface TestDatabase {
  /** URL of the application role. */
  url: string;
  /** URL of the owner role, for migrations. */
  ownerUrl: string;
  /** URL of the server's superuser in this database: for looking, for breaking, never for the code under test. */
  superUrl: string;
  drop(): Promise<void>;
}

/**
 * Creates a fresh database; `name` only helps to recognise it in the server's log. `serverUrl` is of the superuser of another server
 * than the shared one.
 */
export async function testDatabase(name: string, serverUrl = inject('pgUrl')): Promise<TestDatabase> {
  const server = new URL(serverUrl);
  const database = `${name.replace(/[^a-z0-9]/gi, '_').toLowerCase()}_${randomBytes(4).toString('hex')}`;
  const password = randomBytes(8).toString('hex');
  const roles = { ownerPassword: password, appPassword: password };
  const admin = postgres(server.href, { max: 1, onnotice: () => {} });
  const urlFor = (user: string) => {
    const url = new URL(server.href);
    url.username = user;
    if (user !== server.username) url.password = password;
    url.pathname = `/${database}`;
    return url.href;
  };
  const { server: onServer, inDatabase } = databaseRoleStatements(database, roles);
  for (const statement of onServer) await admin.unsafe(statement);
  const inside = postgres(urlFor(server.username), { max: 1, onnotice: () => {} });
  for (const statement of inDatabase) await inside.unsafe(statement);
  await inside.end();
  return {
    url: urlFor(`${database}_app`),
    ownerUrl: urlFor(`${database}_owner`),
    superUrl: urlFor(server.username),
    async drop() {
      await admin.unsafe(`DROP DATABASE IF EXISTS "${database}" WITH (FORCE)`);
      await admin.unsafe(`DROP ROLE IF EXISTS "${database}_app"`);
      await admin.unsafe(`DROP ROLE IF EXISTS "${database}_owner"`);
      await admin.end();
    },
  };
}
