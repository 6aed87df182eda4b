import { ShopError } from '../local/shop-error.ts';
import { CLOSE_DEFAULT_DATABASES, databaseRoleStatements } from '../platform/database-roles.ts';
import type { Secrets } from './secrets.ts';

/**
 * What makes the services' databases and roles, for psql as the server's superuser, with the passwords of their Secrets.
 * @throws ShopError when a service with a database lacks its Secrets.
 */
export function databasesScript(services: { name: string; database: boolean }[], secrets: Secrets): string {
  const parts = services
    .filter(({ database }) => database)
    .map(({ name }) => {
      const passwords = {
        ownerPassword: passwordOf(`${name}-db-owner`, secrets),
        appPassword: passwordOf(`${name}-db`, secrets),
      };
      const { server, inDatabase } = databaseRoleStatements(name, passwords);
      // CREATE DATABASE has no IF NOT EXISTS: psql runs what a query returns.
      const create = (statement: string) =>
        `SELECT $do$${statement}$do$ WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '${name}') \\gexec`;
      return [
        '\\connect postgres',
        ...server.map((line) => (line.startsWith('CREATE DATABASE') ? create(line) : `${line};`)),
        `\\connect ${name}`,
        ...inDatabase.map((line) => `${line};`),
      ];
    });
  return [
    // Without --silent npm says what it runs, into the same pipe: psql is to forget that.
    '\\reset',
    '\\set ON_ERROR_STOP on',
    ...parts.flat(),
    '\\connect postgres',
    ...CLOSE_DEFAULT_DATABASES.map((line) => `${line};`),
  ].join('\n');
}

function passwordOf(name: string, secrets: Secrets): string {
  const url = secrets[name]?.url;
  if (url === undefined)
    throw new ShopError(
      `there is no Secret ${name} with a url`,
      'make the Secrets first: npm run k8s -- secrets',
    );
  return decodeURIComponent(new URL(url).password);
}
