import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { migrateDatabase } from '@sidecart/kit/migrate';
import postgres from 'postgres';
import { afterEach, describe, expect, test } from 'vitest';
import { contractions } from '../generator/expand-only.ts';
import { orders } from '../services/orders/src/schema.ts';
import { changes, expansion, folderWith, migrateAhead, tablesOf } from './next-schema.ts';
import { serviceDatabase } from './service-fixture.ts';

/** The services' own tests run on the next schema as the vitest project `next-schema`; here is that this means something. */
const folder = fileURLToPath(new URL('../services/orders/migrations', import.meta.url));

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function ordersDatabase() {
  const service = await serviceDatabase('orders');
  closing.push(() => service.close());
  return service;
}

test('the schema is ahead by one migration, and the older version’s migrations leave it so', async () => {
  const { ownerUrl, eyes } = await ordersDatabase();
  await migrateAhead(ownerUrl, folder);
  expect(await eyes`SELECT 1 FROM next_things`).toEqual([]);
  const columns = await eyes<{ table_name: string }[]>`
    SELECT table_name FROM information_schema.columns WHERE column_name = 'next_count' ORDER BY 1`;
  expect(columns.map((row) => row.table_name)).toEqual(tablesOf(folder).sort());
});

test('it is a migration of the kind that the check lets pass', () => {
  expect(expansion(tablesOf(folder)).flatMap(contractions)).toEqual([]);
});

test('control: what the check refuses does break the version before it', async () => {
  const { ownerUrl, database } = await ordersDatabase();
  await database.db.select().from(orders);
  const renamed = 'ALTER TABLE "orders" RENAME COLUMN "customer_id" TO "buyer_id";';
  expect(contractions(renamed)).toHaveLength(1);
  const next = folderWith(folder, [renamed]);
  await migrateDatabase(ownerUrl, next);
  rmSync(next, { recursive: true });
  await expect(database.db.select().from(orders)).rejects.toThrow();
});

describe('of all tables, under transactions that begin with the inbox and write events', () => {
  /** Runs the migration while eight connections are at work without a pause. */
  async function migrateUnderWork(statements: string[]): Promise<void> {
    const { ownerUrl } = await ordersDatabase();
    const work = postgres(ownerUrl, { max: 8 });
    let working = true;
    const workers = Array.from({ length: 8 }, async () => {
      while (working)
        await work.begin(async (tx) => {
          await tx`SELECT FROM inbox LIMIT 1`;
          await tx`SELECT pg_sleep(0.01)`;
          await tx`SELECT FROM events LIMIT 1`;
        });
    });
    const next = folderWith(folder, statements);
    try {
      await migrateDatabase(ownerUrl, next, { patienceMs: 5000 });
    } finally {
      working = false;
      await Promise.all(workers);
      await work.end();
      rmSync(next, { recursive: true });
    }
  }

  test('a migration that locks first what they begin with gets through', async () => {
    await migrateUnderWork(expansion(tablesOf(folder)));
  });

  test('control: one that does not is in the way each time, and gives up', async () => {
    await expect(migrateUnderWork(changes(tablesOf(folder)))).rejects.toMatchObject({
      cause: { code: '55P03' },
    });
  });
});

test('a migration that fails changes nothing, and the version before it works on', async () => {
  const { ownerUrl, database, eyes } = await ordersDatabase();
  const next = folderWith(folder, [
    'CREATE TABLE "half" ("id" text);',
    'ALTER TABLE "nowhere" ADD COLUMN "x" text;',
  ]);
  await expect(migrateDatabase(ownerUrl, next)).rejects.toThrow();
  rmSync(next, { recursive: true });
  await expect(eyes`SELECT 1 FROM half`).rejects.toBeInstanceOf(postgres.PostgresError);
  await database.db.select().from(orders);
});
