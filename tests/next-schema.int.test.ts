import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { migrateDatabase } from '@sidecart/kit/migrate';
import postgres from 'postgres';
import { afterEach, expect, test } from 'vitest';
import { contractions } from '../generator/expand-only.ts';
import { orders } from '../services/orders/src/schema.ts';
import { expansion, folderWith, migrateAhead, tablesOf } from './next-schema.ts';
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
