import { spawnSync } from 'node:child_process';
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { skip } from '../tests/cluster/skip.ts';
import { testDatabase } from '../tests/postgres.ts';
import { databasesScript } from './databases-script.ts';

test('psql makes databases and roles of it that can log in, and does so again', async (context) => {
  if (spawnSync('psql', ['--version']).error) return skip(context, 'there is no psql on the PATH');
  const own = await testDatabase('script');
  const name = `script_${process.pid}`;
  const secrets = {
    [`${name}-db`]: { url: `postgres://${name}_app:a%27pp@db/${name}` },
    [`${name}-db-owner`]: { url: `postgres://${name}_owner:ow%5Cner@db/${name}` },
  };
  const server = new URL(own.superUrl);
  server.pathname = '/postgres';
  // What npm writes to its output before that of the command, unless it is to be silent.
  const banner = '\n> sidecart@0.1.0 k8s\n> node local/bootstrap.mjs k8s/cli.ts databases --context some\n\n';
  const psql = (input: string) => spawnSync('psql', [server.href, '--quiet'], { input, encoding: 'utf8' });
  try {
    for (const before of ['', banner]) {
      const input = databasesScript(
        [
          { name, database: true },
          { name: 'edge', database: false },
        ],
        secrets,
      )
        // The server is shared with other tests, which connect to its own databases.
        .replaceAll(/^REVOKE ALL ON DATABASE (postgres|template1) .*$/gm, '');
      const run = psql(`${before}${input}`);
      expect([run.status, run.stderr]).toEqual([0, '']);
      // Control: with what npm says still in its ears psql stops at the first statement.
      if (before === banner)
        expect(psql(before + input.replace('\\reset', '')).stderr).toContain('syntax error');
    }
    for (const [user, password] of [
      [`${name}_app`, "a'pp"],
      [`${name}_owner`, 'ow\\ner'],
    ] as const) {
      const url = new URL(server);
      url.pathname = `/${name}`;
      url.username = user;
      url.password = encodeURIComponent(password);
      const sql = postgres(url.href, { max: 1 });
      expect(await sql`SELECT current_user::text AS user`).toEqual([{ user }]);
      await sql.end();
    }
  } finally {
    const sql = postgres(server.href, { max: 1 });
    await sql.unsafe(`DROP DATABASE IF EXISTS ${name}`);
    for (const role of ['app', 'owner']) await sql.unsafe(`DROP ROLE IF EXISTS ${name}_${role}`);
    await sql.end();
    await own.drop();
  }
});

test('a service without its Secrets is named', () => {
  expect(() => databasesScript([{ name: 'orders', database: true }], {})).toThrow(
    /no Secret orders-db-owner/,
  );
});
