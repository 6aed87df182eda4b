import { describe, expect, test } from 'vitest';
import { contractions } from './expand-only.ts';

describe('a migration that an old version lives with has no fault', () => {
  test.each([
    'CREATE TABLE "returns" ("id" text PRIMARY KEY NOT NULL);',
    'ALTER TABLE "orders" ADD COLUMN "note" text;',
    'ALTER TABLE "orders" ADD COLUMN "copies" integer DEFAULT 1 NOT NULL;',
    'ALTER TABLE "orders" ADD COLUMN "day" date GENERATED ALWAYS AS (placed_at::date) STORED NOT NULL;',
    'ALTER TABLE "orders" ALTER COLUMN "note" DROP NOT NULL;',
    'ALTER TABLE "outbox" SET (autovacuum_vacuum_threshold = 5000);',
    'ALTER TYPE "public"."status" ADD VALUE \'returned\';',
    'CREATE FUNCTION "rotate"() RETURNS void LANGUAGE sql AS $$ SELECT 1 $$;',
  ])('%s', (statement) => {
    expect(contractions(statement)).toEqual([]);
  });

  test('whatever is done to a table that the same migration makes', () => {
    const migration = [
      'CREATE TABLE "returns" ("id" text, "order_id" text);',
      'ALTER TABLE "returns" ADD CONSTRAINT "fk" FOREIGN KEY ("order_id") REFERENCES "public"."orders"("id");',
      'CREATE UNIQUE INDEX "one" ON "returns" USING btree ("order_id");',
      'CREATE INDEX "more" ON "returns" USING btree ("order_id");',
    ].join('\n--> statement-breakpoint\n');
    expect(contractions(migration)).toEqual([]);
  });
});

describe('a migration that an old version may not survive is refused', () => {
  test.each([
    'DROP TABLE "orders";',
    'DROP INDEX "orders_by_status";',
    'ALTER TABLE "orders" DROP COLUMN "note";',
    'ALTER TABLE "orders" RENAME COLUMN "note" TO "remark";',
    'ALTER TABLE "orders" RENAME TO "sales";',
    'ALTER TABLE "orders" ADD COLUMN "note" text NOT NULL;',
    'ALTER TABLE "orders" ALTER COLUMN "note" SET NOT NULL;',
    'ALTER TABLE "orders" ALTER COLUMN "total_amount" SET DATA TYPE numeric;',
    'ALTER TABLE "orders" ALTER COLUMN "note" DROP DEFAULT;',
    'ALTER TABLE "orders" ADD CONSTRAINT "positive" CHECK ("total_amount" > 0);',
    'ALTER TABLE "inbox" DROP CONSTRAINT "inbox_pk";',
    'CREATE UNIQUE INDEX "one" ON "public"."orders" USING btree ("note");',
    'CREATE INDEX "orders_by_note" ON "orders" USING btree ("note");',
    'UPDATE "orders" SET "note" = 1;',
    'CREATE OR REPLACE FUNCTION "rotate"() RETURNS void LANGUAGE sql AS $$ SELECT 2 $$;',
  ])('%s', (statement) => {
    expect(contractions(statement)).toEqual([expect.stringContaining(': ')]);
  });

  test('unless it says why nothing uses it any more, and then that statement alone', () => {
    const drop = 'ALTER TABLE "orders" DROP COLUMN "note";';
    expect(contractions(`-- contract: not read since 1.4, not written since 1.3\n${drop}`)).toEqual([]);
    expect(contractions(`-- contract:\n${drop}`)).toHaveLength(1);
    expect(contractions(`-- contract: gone\n${drop}\n--> statement-breakpoint\n${drop}`)).toHaveLength(1);
  });

  test('unless it says why writers can wait for an index', () => {
    const index = 'CREATE INDEX "orders_by_note" ON "orders" USING btree ("note");';
    expect(contractions(`-- locks: a thousand rows at most\n${index}`)).toEqual([]);
    expect(contractions(`-- contract: gone\n${index}`)).toHaveLength(1);
    expect(contractions(`-- locks: short\nDROP TABLE "orders";`)).toHaveLength(1);
  });
});
