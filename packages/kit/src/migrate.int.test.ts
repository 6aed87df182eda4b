import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../../../tests/postgres.ts';
import { migrateDatabase } from './migrate.ts';

let database: TestDatabase;
let dir: string;

beforeEach(async () => {
  database = await testDatabase('kit_migrate');
  dir = await mkdtemp(join(tmpdir(), 'sidecart-migrations-'));
});
afterEach(async () => {
  await database.drop();
  await rm(dir, { recursive: true, force: true });
});

/** Writes a migrations folder as drizzle-kit does. */
async function migrations(statements: string[]): Promise<void> {
  await mkdir(join(dir, 'meta'), { recursive: true });
  const entries = statements.map((_, idx) => ({
    idx,
    version: '7',
    when: 1000 + idx,
    tag: `000${idx}`,
    breakpoints: true,
  }));
  await writeFile(
    join(dir, 'meta', '_journal.json'),
    JSON.stringify({ version: '7', dialect: 'postgresql', entries }),
  );
  await Promise.all(statements.map((text, i) => writeFile(join(dir, `000${i}.sql`), text)));
}

async function look<T>(text: string): Promise<T[]> {
  const sql = postgres(database.superUrl, { max: 1 });
  try {
    return (await sql.unsafe(text)) as unknown as T[];
  } finally {
    await sql.end();
  }
}

test('applies what is new, once, in order', async () => {
  await migrations(['create table a (id int)']);
  await migrateDatabase(database.ownerUrl, dir);
  await migrations(['create table a (id int)', 'alter table a add column b int']);
  await migrateDatabase(database.ownerUrl, dir);
  await migrateDatabase(database.ownerUrl, dir);
  const columns = await look<{ name: string }>(
    "select column_name as name from information_schema.columns where table_name = 'a' order by 1",
  );
  expect(columns.map((c) => c.name)).toEqual(['b', 'id']);
});

test('five at once: each waits its turn and nothing is applied twice', async () => {
  await migrations(['create table a (id int)', 'insert into a select 1 from pg_sleep(0.2)']);
  await Promise.all(Array.from({ length: 5 }, () => migrateDatabase(database.ownerUrl, dir)));
  expect(await look('select id from a')).toEqual([{ id: 1 }]);
});

test('a migration that fails leaves nothing of itself and of those with it', async () => {
  await migrations(['create table a (id int)', 'create table b (id int); select 1/0']);
  await expect(migrateDatabase(database.ownerUrl, dir)).rejects.toThrow();
  expect(await look("select 1 from information_schema.tables where table_name in ('a', 'b')")).toEqual([]);
});

test('as a program: exit code and one line, the password not in it', async () => {
  await migrations(['create table a (id int)']);
  const run = (env: Record<string, string>) =>
    execa(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('migrate.ts', import.meta.url))], {
      env,
      reject: false,
    });
  const good = await run({ DATABASE_URL: database.ownerUrl, MIGRATIONS_DIR: dir });
  expect(good).toMatchObject({ exitCode: 0, stderr: '' });
  expect(JSON.parse(good.stdout)).toMatchObject({ level: 'info', message: 'migrated' });
  expect(await look('select id from a')).toEqual([]);

  const bad = await run({ DATABASE_URL: 'postgres://u:hunter2@127.0.0.1:1/x', MIGRATIONS_DIR: dir });
  expect(bad.exitCode).toBe(1);
  expect(JSON.parse(bad.stdout)).toMatchObject({ level: 'fatal', err: { code: 'ECONNREFUSED' } });
  expect(bad.stdout + bad.stderr).not.toContain('hunter2');
  expect(await run({})).toMatchObject({ exitCode: 1 });
});

describe('a table that somebody uses', () => {
  const used = async (work: (user: postgres.Sql) => Promise<void>) => {
    await migrations(['create table a (id int)']);
    await migrateDatabase(database.ownerUrl, dir);
    await migrations(['create table a (id int)', 'alter table a add column b int']);
    const user = postgres(database.superUrl, { max: 2 });
    try {
      await work(user);
    } finally {
      await user.end();
    }
  };
  const hasColumn = async () =>
    (await look("select 1 from information_schema.columns where column_name = 'b'")).length === 1;

  test('is tried again until it is free, and nobody queues behind that for long', async () => {
    await used(async (user) => {
      let migrated: Promise<void> | undefined;
      const waits: number[] = [];
      await user.begin(async (tx) => {
        await tx`select * from a`;
        migrated = migrateDatabase(database.ownerUrl, dir);
        migrated.catch(() => {});
        for (const end = Date.now() + 3_000; Date.now() < end; await sleep(20)) {
          const began = performance.now();
          await user`select * from a`;
          waits.push(performance.now() - began);
        }
        expect(await hasColumn()).toBe(false);
      });
      await migrated;
      // Someone did meet the migration, more than once, or this says nothing; nobody waited for as long as its user had the table.
      expect(waits.filter((ms) => ms > 50).length).toBeGreaterThan(1);
      expect(Math.max(...waits)).toBeLessThan(1_500);
    });
    expect(await hasColumn()).toBe(true);
  });

  test('and is never free, fails in the end and changes nothing; a later one gets it', async () => {
    await used((user) =>
      user
        .begin(async (tx) => {
          await tx`select * from a`;
          await expect(migrateDatabase(database.ownerUrl, dir, { patienceMs: 500 })).rejects.toMatchObject({
            cause: { code: '55P03' },
          });
        })
        .then(() => {}),
    );
    expect(await hasColumn()).toBe(false);
    await migrateDatabase(database.ownerUrl, dir);
    expect(await hasColumn()).toBe(true);
  });
});
