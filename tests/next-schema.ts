import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrateDatabase } from '@sidecart/kit/migrate';

interface Journal {
  entries: { idx: number; version: string; when: number; tag: string; breakpoints: boolean }[];
}

/**
 * Takes a migrated database one migration further than its service knows, as a newer version of that service does while the older
 * one still works: every table gets columns and an index, and there is a new table. Then the older version's migrations run once
 * more, as they do when it is rolled back to.
 */
export async function migrateAhead(ownerUrl: string, folder: string): Promise<void> {
  const next = folderWith(folder, expansion(tablesOf(folder)));
  try {
    await migrateDatabase(ownerUrl, next);
    await migrateDatabase(ownerUrl, folder);
  } finally {
    rmSync(next, { recursive: true });
  }
}

/** By which a service's transactions begin: with a message, a request, a message to itself, or what a read model has read. */
const BEGINNINGS = ['inbox', 'idempotency_key', 'outbox_local', 'subscriptions'];

/** What `npm run check` lets pass, for each table at once. */
export function expansion(tables: string[]): string[] {
  return [...lockFirst(tables), ...changes(tables)];
}

/**
 * Changing one table after the other, a migration has a table for which a transaction waits that has the next one already: with transactions
 * all the time it is in the way, and gives way, each time anew.
 */
function lockFirst(tables: string[]): string[] {
  const there = BEGINNINGS.filter((table) => tables.includes(table));
  return there.length === 0 ? [] : [`LOCK TABLE ${there.join(', ')} IN ACCESS EXCLUSIVE MODE;`];
}

/** The same without locking first what transactions begin with. */
export function changes(tables: string[]): string[] {
  return [
    'CREATE TABLE "next_things" ("id" text PRIMARY KEY NOT NULL, "note" text NOT NULL);',
    ...tables.flatMap((table) => [
      `ALTER TABLE "${table}" ADD COLUMN "next_note" text;`,
      `ALTER TABLE "${table}" ADD COLUMN "next_count" integer DEFAULT 0 NOT NULL;`,
      `-- locks: a test\nCREATE INDEX "next_${table}" ON "${table}" USING btree ("next_note");`,
    ]),
  ];
}

/** A copy of a folder of migrations with one more, whose statements these are. The caller removes it. */
export function folderWith(folder: string, statements: string[]): string {
  const copy = mkdtempSync(join(tmpdir(), 'sidecart-next-'));
  cpSync(folder, copy, { recursive: true });
  const file = join(copy, 'meta', '_journal.json');
  const journal = JSON.parse(readFileSync(file, 'utf8')) as Journal;
  const last = journal.entries.at(-1);
  if (!last) throw new Error(`${folder} has no migration`);
  const entry = { ...last, idx: last.idx + 1, when: Math.max(last.when + 1, Date.now()), tag: 'next' };
  writeFileSync(file, JSON.stringify({ ...journal, entries: [...journal.entries, entry] }));
  writeFileSync(join(copy, 'next.sql'), statements.join('\n--> statement-breakpoint\n'));
  return copy;
}

/** The tables that the newest snapshot beside the migrations has. */
export function tablesOf(folder: string): string[] {
  const { entries } = JSON.parse(readFileSync(join(folder, 'meta', '_journal.json'), 'utf8')) as Journal;
  const newest = String(entries.at(-1)?.idx ?? 0).padStart(4, '0');
  const snapshot = JSON.parse(readFileSync(join(folder, 'meta', `${newest}_snapshot.json`), 'utf8')) as {
    tables: Record<string, { name: string }>;
  };
  return Object.values(snapshot.tables).map(({ name }) => name);
}
