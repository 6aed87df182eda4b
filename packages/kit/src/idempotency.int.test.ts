import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../../../tests/postgres.ts';
import { connectDatabase, type Database, type Transaction } from './db.ts';
import { claimIdempotent, findIdempotent, fingerprint, purgeIdempotencyKeys } from './idempotency.ts';
import { toProblem } from './problem.ts';

let test_: TestDatabase;
let database: Database;
let owner: Database;

beforeAll(async () => {
  test_ = await testDatabase('kit_idempotency');
  owner = connectDatabase({ url: test_.ownerUrl, applicationName: 'owner' });
  database = connectDatabase({ url: test_.url, applicationName: 'app', max: 20 });
  await owner.sql`
    create table idempotency_key (
      actor text not null, key text not null, fingerprint text not null, resource text not null,
      created_at timestamptz not null default now(), primary key (actor, key))`;
});
afterAll(async () => {
  await Promise.all([database.close(), owner.close()]);
  await test_.drop();
});
beforeEach(async () => {
  await owner.sql`delete from idempotency_key`;
});

const body = fingerprint({ lines: [1] });
const claim = (
  tx: Transaction,
  resource: string,
  o: Partial<{ actor: string; key: string; fingerprint: string }> = {},
) => claimIdempotent(tx, { actor: 'a', key: 'k', fingerprint: body, resource, ...o });
const find = (o: Partial<{ actor: string; key: string; fingerprint: string }> = {}) =>
  findIdempotent(database.db, { actor: 'a', key: 'k', fingerprint: body, ...o });
const age = (hours: number) =>
  owner.sql`update idempotency_key set created_at = now() - make_interval(secs => ${hours * 3600})`;
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (err) => toProblem(err).code,
  );

test('the same key and body give the same resource; another body is refused; another actor is another key', async () => {
  expect(await find()).toBeUndefined();
  expect(await database.db.transaction((tx) => claim(tx, 'ord_1'))).toEqual({ claimed: true });
  expect(await find()).toBe('ord_1');
  expect(await database.db.transaction((tx) => claim(tx, 'ord_2'))).toEqual({
    claimed: false,
    resource: 'ord_1',
  });
  const other = fingerprint({ lines: [2] });
  expect(await codeOf(find({ fingerprint: other }))).toBe('idempotency_key_reused');
  expect(await codeOf(database.db.transaction((tx) => claim(tx, 'ord_3', { fingerprint: other })))).toBe(
    'idempotency_key_reused',
  );
  expect(await find({ actor: 'b' })).toBeUndefined();
});

test('of many at once one makes the resource and all others get it', async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      database.db.transaction(async (tx) => {
        const answer = await claim(tx, `ord_${i}`);
        await sleep(20);
        return answer.claimed ? { made: `ord_${i}` } : { got: answer.resource };
      }),
    ),
  );
  const made = answers.flatMap((a) => ('made' in a ? [a.made] : []));
  expect(made).toHaveLength(1);
  expect(answers.filter((a) => 'got' in a && a.got === made[0])).toHaveLength(19);
});

test('the second waits for the first, and takes over when the first is rolled back', async () => {
  const claimed = Promise.withResolvers<void>();
  const rollBack = Promise.withResolvers<void>();
  const first = database.db.transaction(async (tx) => {
    expect(await claim(tx, 'ord_1')).toEqual({ claimed: true });
    claimed.resolve();
    await rollBack.promise;
    throw new Error('price changed');
  });
  await claimed.promise;
  const second = database.db.transaction((tx) => claim(tx, 'ord_2'));
  await sleep(50);
  rollBack.resolve();
  await expect(first).rejects.toThrow('price changed');
  expect(await second).toEqual({ claimed: true });
  expect(await find()).toBe('ord_2');
});

test('a key counts for 24 hours by the clock of the database, then it is free, for any body', async () => {
  await database.db.transaction((tx) => claim(tx, 'ord_1'));
  await age(23.99);
  expect(await find()).toBe('ord_1');
  expect(await purgeIdempotencyKeys(database.db)).toBe(0);
  await age(24.01);
  expect(await find()).toBeUndefined();
  const other = fingerprint({ lines: [2] });
  expect(await database.db.transaction((tx) => claim(tx, 'ord_2', { fingerprint: other }))).toEqual({
    claimed: true,
  });
  expect(await find({ fingerprint: other })).toBe('ord_2');
  await age(24.01);
  const takers = await Promise.all(
    Array.from({ length: 10 }, (_, i) => database.db.transaction((tx) => claim(tx, `ord_1${i}`))),
  );
  expect(takers.filter((a) => a.claimed)).toHaveLength(1);
});

test('purging deletes what is older, and only that', async () => {
  await database.db.transaction((tx) => claim(tx, 'ord_1'));
  await age(25);
  await database.db.transaction((tx) => claim(tx, 'ord_2', { key: 'k2' }));
  expect(await purgeIdempotencyKeys(database.db)).toBe(1);
  const rows = await database.db.execute<{ key: string }>(sql`select key from idempotency_key`);
  expect([...rows]).toEqual([{ key: 'k2' }]);
});

test.for([
  ['in parts, each of which takes no longer than a statement may', { pages: 1 }, true],
  ['control: what fits into one part in one statement', {}, false],
] as const)('purging goes %s', async ([, o, many]) => {
  await owner.sql`truncate idempotency_key`;
  await owner.sql`
    insert into idempotency_key (actor, key, fingerprint, resource, created_at)
    select 'a', n, 'f', 'r', now() - interval '25 hours' from generate_series(1, 300) as n`;
  await owner.sql.unsafe(`
    create table part (id serial, rows int);
    create function count_gone() returns trigger language plpgsql security definer as
      'begin insert into part (rows) select count(*) from gone; return null; end';
    create trigger count_gone after delete on idempotency_key referencing old table as gone
      for each statement execute function count_gone()`);
  try {
    expect(await purgeIdempotencyKeys(database.db, o)).toBe(300);
    expect((await owner.sql`select from part`).length > 1).toBe(many);
  } finally {
    await owner.sql.unsafe(
      'drop trigger count_gone on idempotency_key; drop function count_gone(); drop table part',
    );
  }
});

test('a key that is taken over while a purge waits for it stays', async () => {
  await database.db.transaction((tx) => claim(tx, 'ord_1'));
  await age(25);
  let purge: Promise<number> | undefined;
  await database.db.transaction(async (tx) => {
    expect(await claim(tx, 'ord_2')).toEqual({ claimed: true });
    purge = purgeIdempotencyKeys(database.db);
    await sleep(300);
  });
  expect(await purge).toBe(0);
  expect(await find()).toBe('ord_2');
});
