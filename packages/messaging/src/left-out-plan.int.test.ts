import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Fixture, openFixture } from './fixture.ts';
import { readLimit } from './fixture-reader.ts';
import type { Queue } from './floors.ts';
import * as local from './local-session.ts';
import * as relay from './relay-session.ts';
import { type ReadOptions, readParts } from './slot-read.ts';
import type { Run } from './slot-session.ts';

// Each row that is passed is compared with what is left out, and that may be as many keys as fail.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('leftoutplan');
});
afterAll(() => fixture?.close());

/** How often the statement of a read looks something up in a hash table, by the plan that PostgreSQL makes for it. */
async function lookUps(queue: Queue, takes: ReadOptions['takes']): Promise<number> {
  const plan: string[] = [];
  const explain: Run = (statement) =>
    fixture.admin.begin(async (sql) => {
      await sql`SET LOCAL work_mem = '64kB'`;
      const asked = statement(sql as unknown as postgres.Sql) as unknown as postgres.PendingQuery<
        postgres.Row[]
      >;
      for (const row of await sql<{ 'QUERY PLAN': string }[]>`EXPLAIN ${asked}`) plan.push(row['QUERY PLAN']);
      return [] as never;
    }) as never;
  await readParts(explain, [{ slot: 0, after: 0n }], readLimit, { queue, takes, leavesOut: () => true });
  expect(plan.length).toBeGreaterThan(5);
  return plan.join('\n').match(/hashed SubPlan/g)?.length ?? 0;
}

const names = Array.from({ length: 20_000 }, (_, i) => `key-${i}`);
const keys = names.map((key) => ({ topic: 'orders', key }));

test('a relay looks up the topics and the keys that it leaves out', async () => {
  expect(await lookUps('outbox', (sql) => relay.takesOthersThan(sql, { topics: ['products'], keys }))).toBe(
    2,
  );
});

describe('beside more dead letters than PostgreSQL would make a hash table of', () => {
  beforeAll(async () => {
    await fixture.admin`
      INSERT INTO dead_letter (topic, event_id, type, msg_key, body, headers, reason, detail, attempts, holds_key)
      SELECT 'self', 'e' || n, 'T', 'key-' || n, '', '{}', 'invariant', 'never', 1, true FROM generate_series(1, 5000) AS n`;
    await fixture.admin`ANALYZE dead_letter`;
  });

  test('a local worker looks up the keys that it leaves out, and those that they hold', async () => {
    expect(await lookUps('outbox_local', (sql) => local.takesOthersThan(sql, names))).toBe(2);
  });

  test('control: by a query for them it would not', async () => {
    expect(
      await lookUps('outbox_local', (sql) => sql`msg_key NOT IN (SELECT msg_key FROM dead_letter)`),
    ).toBe(0);
  });
});

test('control: an array is gone through', async () => {
  const list = JSON.stringify(names);
  expect(
    await lookUps(
      'outbox_local',
      (sql) => sql`msg_key <> ALL (ARRAY(SELECT json_array_elements_text(${list}::text::json)))`,
    ),
  ).toBe(0);
});
