/** The SQL that gives one service its database, in the order to run it in. */
export interface DatabaseRoleStatements {
  /** To run as the server's superuser, in any database; each statement on its own (CREATE DATABASE allows no transaction). */
  server: string[];
  /** To run as the superuser inside the new database. */
  inDatabase: string[];
}

/**
 * SQL for a database named `name`, owned by `<name>_owner` (runs the migrations) and used by `<name>_app` (reads and
 * writes rows, changes no table). Nobody else can connect to it. Safe to run again, which also sets the passwords
 * anew. CREATE DATABASE has no IF NOT EXISTS: pass `exists` when `pg_database` already lists the name.
 */
export function databaseRoleStatements(
  name: string,
  passwords: { ownerPassword: string; appPassword: string },
  exists = false,
): DatabaseRoleStatements {
  const database = identifier(name);
  const owner = identifier(`${name}_owner`);
  const app = identifier(`${name}_app`);
  return {
    server: [
      ...role(`${name}_owner`, passwords.ownerPassword),
      ...role(`${name}_app`, passwords.appPassword),
      ...(exists ? [] : [`CREATE DATABASE ${database} OWNER ${owner}`]),
      `ALTER DATABASE ${database} OWNER TO ${owner}`,
      `REVOKE ALL ON DATABASE ${database} FROM PUBLIC`,
      `REVOKE ALL ON DATABASE ${database} FROM ${app}`,
      `GRANT CONNECT, TEMPORARY ON DATABASE ${database} TO ${owner}`,
      `GRANT CONNECT ON DATABASE ${database} TO ${app}`,
    ],
    inDatabase: [
      `ALTER SCHEMA public OWNER TO ${owner}`,
      'REVOKE ALL ON SCHEMA public FROM PUBLIC',
      `GRANT USAGE ON SCHEMA public TO ${app}`,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${app}`,
      `GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${app}`,
      `ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ${app}`,
      `ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} IN SCHEMA public GRANT USAGE ON SEQUENCES TO ${app}`,
    ],
  };
}

/**
 * SQL to run once on a server, as its superuser: PostgreSQL lets every role connect to these two databases, and a
 * service's roles shall connect to their own only.
 */
export const CLOSE_DEFAULT_DATABASES = [
  'REVOKE ALL ON DATABASE postgres FROM PUBLIC',
  'REVOKE ALL ON DATABASE template1 FROM PUBLIC',
] as const;

/** CREATE ROLE has no IF NOT EXISTS, so the check is in the statement. */
function role(name: string, password: string): string[] {
  const quoted = identifier(name);
  return [
    `DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ${literal(name)}) THEN CREATE ROLE ${quoted}; END IF; END $do$`,
    `ALTER ROLE ${quoted} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD ${literal(password)}`,
  ];
}

function identifier(name: string): string {
  if (name.length === 0 || name.includes('\0') || name.includes('$do$')) {
    throw new RangeError(`${JSON.stringify(name)} is no name for a database or role`);
  }
  if (Buffer.byteLength(name) > 63)
    throw new RangeError(`${name} is longer than the 63 bytes PostgreSQL keeps`);
  return `"${name.replaceAll('"', '""')}"`;
}

/** A string literal; the E form when there is a backslash, so that it means itself under any server setting. */
function literal(value: string): string {
  if (value.includes('\0')) throw new RangeError('PostgreSQL stores no NUL character');
  const quoted = value.replaceAll("'", "''");
  return quoted.includes('\\') ? `E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`;
}
