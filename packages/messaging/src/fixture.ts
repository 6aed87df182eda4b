import { connectDatabase, type Database } from '@sidecart/kit/db';
import postgres from 'postgres';
import { z } from 'zod';
import { type TestDatabase, testDatabase } from '../../../tests/postgres.ts';
import { createOutbox } from './outbox.ts';
import { createMessagingTables } from './testing.ts';

// biome-ignore lint/performance/noBarrelFile: what every test of this package needs comes from here
export { openTransaction } from '../../../tests/open-transaction.ts';
export { eventually, sleep as pause } from '../../../tests/waiting.ts';

// What the integration tests of this package share: a database with the messaging tables and a small catalogue.

const data = z.object({ key: z.string(), n: z.int() });
export type FixtureData = z.infer<typeof data>;
const keyOf = (d: FixtureData) => d.key;

export const catalog = {
  Placed: { topic: 'orders', kind: 'fact', schema: data, key: keyOf },
  Reserve: { topic: 'commands.inventory', kind: 'command', schema: data, key: keyOf },
  Remind: { topic: 'self', kind: 'command', schema: data, key: keyOf },
  Foreign: { topic: 'products', kind: 'fact', schema: data, key: keyOf },
} as const;

export const owns = ['orders', 'commands.inventory'];
export const outbox = createOutbox({ service: 'orders', catalog, owns, handles: () => ({ ordered: true }) });
export const placed = (key: string, n: number) => ({ type: 'Placed' as const, data: { key, n } });
export const reserve = (key: string, n: number) => ({ type: 'Reserve' as const, data: { key, n } });
export const remind = (key: string, n: number) => ({ type: 'Remind' as const, data: { key, n } });

export interface Fixture {
  urls: TestDatabase;
  /** As the application role. */
  database: Database;
  /** As the superuser, to look and to break. */
  admin: postgres.Sql;
  /** Empties all tables. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

/** A fresh database with the messaging tables and a table `effect (n int)`; on another server than the shared one by `serverUrl`. */
export async function openFixture(name: string, serverUrl?: string): Promise<Fixture> {
  const urls = await testDatabase(name, serverUrl);
  await createMessagingTables(urls.ownerUrl);
  const owner = postgres(urls.ownerUrl, { max: 1 });
  await owner`CREATE TABLE effect (n int NOT NULL)`;
  await owner.end();
  const database = connectDatabase({ url: urls.url, applicationName: name, max: 10 });
  const admin = postgres(urls.superUrl, { max: 2, onnotice: () => {} });
  return {
    urls,
    database,
    admin,
    async clear() {
      await admin`TRUNCATE outbox, outbox_local, outbox_delayed, outbox_sequence, sent, inbox, inbox_key, inbox_parked, inbox_failing, inbox_start,
        consumer_run, dead_letter, dead_letter_action, effect`;
    },
    async close() {
      await database.close();
      await admin.end();
      await urls.drop();
    },
  };
}
