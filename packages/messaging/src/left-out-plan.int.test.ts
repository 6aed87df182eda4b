import type postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
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
  const explain: Run = async (statement) => {
    const { admin } = fixture;
    const asked = statement(admin) as unknown as postgres.PendingQuery<postgres.Row[]>;
    for (const row of await admin<{ 'QUERY PLAN': string }[]>`EXPLAIN ${asked}`) plan.push(row['QUERY PLAN']);
    return [] as never;
  };
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

test('a local worker looks up the keys that it leaves out, and those that a dead letter holds', async () => {
  expect(await lookUps('outbox_local', (sql) => local.takesOthersThan(sql, names))).toBe(2);
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
