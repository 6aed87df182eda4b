import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { CLOSE_DEFAULT_DATABASES, databaseRoleStatements } from './database-roles.ts';

// Names and passwords that would break out of careless quoting.
const suffix = randomBytes(3).toString('hex');
const mine = `mi"ne-${suffix}`;
const other = `other-${suffix}`;
const passwords = { ownerPassword: `o'w\\n"${suffix}`, appPassword: `a'p\\p$do$${suffix}` };

let admin: postgres.Sql;
const open: postgres.Sql[] = [];

function connect(user: string, password: string, database: string): postgres.Sql {
  const { hostname, port } = new URL(inject('pgUrl'));
  const sql = postgres({
    host: hostname,
    port: Number(port),
    user,
    password,
    database,
    max: 1,
    onnotice: () => {},
  });
  open.push(sql);
  return sql;
}

async function create(name: string, exists = false): Promise<void> {
  const { server, inDatabase } = databaseRoleStatements(name, passwords, exists);
  for (const statement of server) await admin.unsafe(statement);
  const url = new URL(inject('pgUrl'));
  const inside = connect(decodeURIComponent(url.username), decodeURIComponent(url.password), name);
  for (const statement of inDatabase) await inside.unsafe(statement);
}

beforeAll(async () => {
  admin = postgres(inject('pgUrl'), { max: 1, onnotice: () => {} });
  for (const statement of CLOSE_DEFAULT_DATABASES) await admin.unsafe(statement);
  await create(mine);
  await create(other);
});

afterAll(async () => {
  await Promise.all(open.map((sql) => sql.end()));
  for (const name of [mine, other]) {
    await admin`DROP DATABASE IF EXISTS ${admin(name)} WITH (FORCE)`;
    for (const role of ['owner', 'app']) await admin`DROP ROLE IF EXISTS ${admin(`${name}_${role}`)}`;
  }
  await admin.end();
});

test('the owner makes tables, and the application works with their rows', async () => {
  const owner = connect(`${mine}_owner`, passwords.ownerPassword, mine);
  await owner`CREATE TABLE thing (id bigint GENERATED ALWAYS AS IDENTITY, name text)`;
  const app = connect(`${mine}_app`, passwords.appPassword, mine);
  await app`INSERT INTO thing (name) VALUES ('a')`;
  await app`UPDATE thing SET name = 'b'`;
  expect(await app`SELECT name FROM thing`).toEqual([{ name: 'b' }]);
  await app`DELETE FROM thing`;
});

test('the application changes no table', async () => {
  const app = connect(`${mine}_app`, passwords.appPassword, mine);
  await expect(app`CREATE TABLE mischief (id int)`).rejects.toMatchObject({ code: '42501' });
  await expect(app`DROP TABLE thing`).rejects.toMatchObject({ code: '42501' });
  await expect(app`TRUNCATE thing`).rejects.toMatchObject({ code: '42501' });
  await expect(app`CREATE TEMPORARY TABLE mischief (id int)`).rejects.toMatchObject({ code: '42501' });
});

test.each(['owner', 'app'])('the %s role connects to its own database only', async (role) => {
  for (const database of [other, 'postgres', 'template1']) {
    const sql = connect(
      `${mine}_${role}`,
      role === 'owner' ? passwords.ownerPassword : passwords.appPassword,
      database,
    );
    await expect(sql`SELECT 1`).rejects.toMatchObject({ code: '42501' });
  }
});

test('it can be run again, with new passwords', async () => {
  const { server } = databaseRoleStatements(mine, { ownerPassword: 'new', appPassword: 'new' }, true);
  for (const statement of server) await admin.unsafe(statement);
  expect(await connect(`${mine}_app`, 'new', mine)`SELECT count(*)::int AS count FROM thing`).toEqual([
    { count: 0 },
  ]);
  await create(mine, true);
});

test('a name that PostgreSQL would cut short is refused', () => {
  expect(() => databaseRoleStatements('x'.repeat(60), passwords)).toThrow(/longer than the 63 bytes/);
});
