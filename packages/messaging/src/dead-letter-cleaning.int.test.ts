import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Fixture, openFixture } from './fixture.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('cleaning');
});
afterAll(() => fixture?.close());

/** What docs/messages.md tells to run. */
const DOCS = join(import.meta.dirname, '../../../docs/messages.md');
const [, statement = ''] = /```sql\n(WITH old AS[\s\S]*?)```/.exec(readFileSync(DOCS, 'utf8')) ?? [];

test('what the docs say deletes settled dead letters with what was done about them, once they are old; others stay', async () => {
  const rows = [
    ['old and discarded', 'discarded', 100],
    ['old and redriven', 'redriven', 100],
    ['discarded lately', 'discarded', 10],
    ['old and waiting', 'waiting', null],
  ] as const;
  for (const [name, state, days] of rows)
    await fixture.admin`
      WITH dead AS (
        INSERT INTO dead_letter (topic, event_id, state, reason, detail, body, headers, attempts, died_at, resolved_at)
        VALUES ('orders', ${name}, ${state}, 'schema', 'wrong', '', '{}', 1, now() - interval '200 days',
          now() - ${days}::int * interval '1 day') RETURNING id)
      INSERT INTO dead_letter_action (dead_letter_id, actor, action, note) SELECT id, 'somebody', 'edit', ${name} FROM dead`;
  expect(statement).not.toBe('');
  await fixture.database.sql.unsafe(statement);
  const left = ['discarded lately', 'old and waiting'];
  const names = async (query: string) =>
    (await fixture.admin.unsafe<{ name: string }[]>(query)).map(({ name }) => name);
  expect(await names('SELECT event_id AS name FROM dead_letter ORDER BY id')).toEqual(left);
  expect(await names('SELECT note AS name FROM dead_letter_action ORDER BY id')).toEqual(left);
});
