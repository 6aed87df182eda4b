import { connectDatabase } from '@sidecart/kit/db';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually, type Fixture, openFixture } from './fixture.ts';
import { makeDeadRows } from './fixture-dead-rows.ts';
import { entriesRead } from './fixture-entries-read.ts';
import { fillLong, LONG, slot } from './fixture-long-key.ts';
import { readerOptions, readLimit } from './fixture-reader.ts';
import type { Queue } from './floors.ts';
import { removeHandled } from './local-apply.ts';
import { openLocalSession } from './local-session.ts';
import { runPrepared } from './prepared.ts';
import type { OutboxMessage } from './relay-queue.ts';
import { openSession, type RelaySession } from './relay-session.ts';
import { STEP } from './slot-read.ts';

// What is told from a time only on a machine that is busy with nothing else is told here from what the database has looked at.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('entriesread');
  // Neither plans nor statistics are renewed meanwhile, as in a backlog that comes within a minute.
  await fixture.admin`ALTER TABLE outbox SET (autovacuum_enabled = false)`;
  await fixture.admin`ALTER TABLE outbox_local SET (autovacuum_enabled = false)`;
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

describe('a statement that removes, planned while the queue was empty, looks at no other rows of a long queue', () => {
  type Remove = (messages: OutboxMessage[]) => Promise<unknown>;
  /** PostgreSQL keeps a plan after five executions, if it is as good as theirs were. */
  const ROUNDS = 12;

  async function take(queue: Queue, count: number): Promise<OutboxMessage[]> {
    const rows = await fixture.admin<{ id: string; eventId: string }[]>`
      SELECT id::text, event_id::text AS "eventId" FROM ${fixture.admin(queue)} ORDER BY id DESC LIMIT ${count}`;
    return rows.map(({ id, eventId }) => ({ slot, id: BigInt(id), eventId }) as OutboxMessage);
  }

  /** How many rows were looked at for each that was removed. */
  async function looked(queue: Queue, remove: Remove, close: () => Promise<void>): Promise<number> {
    const type = queue === 'outbox' ? 'Placed' : 'Remind';
    await fillLong(fixture, queue, type, 1);
    await fixture.admin`ANALYZE ${fixture.admin(queue)}`; // or PostgreSQL takes it for one of ten pages
    for (let i = 0; i < ROUNDS; i += 1) {
      await fillLong(fixture, queue, type, 1);
      await remove(await take(queue, 2));
    }
    await fillLong(fixture, queue, type);
    const last = await take(queue, 10);
    const read = async () => {
      const { byIndex, bySeqScan } = await entriesRead(fixture.admin, queue);
      return byIndex + bySeqScan;
    };
    const before = await read();
    await remove(last);
    await close(); // which is when a session says what it has counted
    const [left] = await fixture.admin<{ n: number }[]>`
      SELECT count(*)::int AS n FROM ${fixture.admin(queue)}`;
    expect(left?.n).toBe(2 + LONG + 1 - last.length);
    await eventually(async () => expect(await read()).toBeGreaterThanOrEqual(before + last.length));
    return ((await read()) - before) / last.length;
  }

  async function lookedByRelay(removeBy: (session: RelaySession) => Remove): Promise<number> {
    const session = await openSession(readerOptions(fixture));
    return looked('outbox', removeBy(session), session.close);
  }

  async function lookedByWorker(remove: typeof removeHandled): Promise<number> {
    const database = connectDatabase({ url: fixture.urls.url, applicationName: 'worker', max: 1 });
    return looked(
      'outbox_local',
      (messages) => database.db.transaction((tx) => remove(tx, messages)),
      database.close,
    );
  }

  const FEW = 20;

  test('that of a relay', async () => {
    expect(await lookedByRelay((session) => session.remove)).toBeLessThan(FEW);
  });

  test('control: a join looks at all', async () => {
    const join = await lookedByRelay(
      (session) => (messages) =>
        session.run(
          (sql) => sql`
            DELETE FROM outbox o USING json_to_recordset(${JSON.stringify(messages.map(({ id }) => ({ slot, id: String(id) })))}::text::json)
              AS g (slot smallint, id bigint)
            WHERE o.slot = g.slot AND o.id = g.id`,
        ),
    );
    expect(join).toBeGreaterThan(LONG / 10);
  });

  test('that of a local worker', async () => {
    expect(await lookedByWorker(removeHandled)).toBeLessThan(FEW);
  });

  test('control: one that may be planned without the index looks at all', async () => {
    const plain = await lookedByWorker(async (tx, messages) => {
      const text =
        'DELETE FROM outbox_local WHERE slot = ANY ($1::text::smallint[]) AND id = ANY ($2::text::bigint[])';
      const ids = messages.map(({ id }) => id).join();
      return (await runPrepared(tx, 'plain', text, [`{${slot}}`, `{${ids}}`])).count;
    });
    expect(plain).toBeGreaterThan(LONG / 10);
  });
});

describe('of very many that were acknowledged at once, in the time that a statement has', () => {
  const MANY = 20_000;

  async function removed(remove: (session: RelaySession, messages: OutboxMessage[]) => Promise<unknown>) {
    await fillLong(fixture, 'outbox', 'Placed', MANY);
    const rows = await fixture.admin<{ id: bigint; eventId: string }[]>`
      SELECT id, event_id::text AS "eventId" FROM outbox`;
    const session = await openSession(readerOptions(fixture));
    try {
      await remove(session, rows.map((row) => ({ ...row, slot })) as OutboxMessage[]);
      return 'done';
    } catch (err) {
      return (err as { code?: string }).code;
    } finally {
      await session.close();
    }
  }

  test('a relay removes all', async () => {
    expect(await removed((session, messages) => session.remove(messages))).toBe('done');
    expect(await fixture.admin`SELECT FROM outbox`).toEqual([]);
  });

  test('control: with their event ids as an array, which is made anew for each, it is ended', async () => {
    const byArrays = (session: RelaySession, messages: OutboxMessage[]) => {
      const [ids, eventIds] = [messages.map(({ id }) => id), messages.map(({ eventId }) => eventId)];
      return session.run(
        (sql) => sql`
          DELETE FROM outbox WHERE slot = ${slot} AND id = ANY (${`{${ids}}`}::text::bigint[])
            AND event_id = ANY (${`{${eventIds}}`}::text::uuid[])`,
      );
    };
    expect(await removed(byArrays)).toBe('57014');
  });
});

test('a read that leaves something out looks at each row of a step twice at most, however many it takes', async () => {
  const session = await openSession(readerOptions(fixture));
  await fillLong(fixture, 'outbox', 'Placed', LONG);
  await fixture.admin`UPDATE outbox SET msg_key = 'k' || id WHERE id % 50 = 0`;
  await fixture.admin`ANALYZE outbox`;
  const { byIndex } = await entriesRead(fixture.admin, 'outbox');
  const out = { topics: [], keys: [{ topic: 'orders', key: 'long' }] };
  const parts = await session.read(new Map([[slot, 0n]]), out, readLimit);
  expect(parts.get(slot)?.rows.length).toBe(STEP / 50);
  await session.close();
  const read = async () => (await entriesRead(fixture.admin, 'outbox')).byIndex - byIndex;
  await eventually(async () => expect(await read()).toBeGreaterThanOrEqual(STEP));
  expect(await read()).toBeLessThan(3 * STEP); // with old versions of those updated here
});

describe('what was deleted and cannot be vacuumed is passed once by a read that leaves nothing out, else twice', () => {
  const after = new Map([[slot, 0n]]);

  async function passed(queue: Queue, session: { close(): Promise<void> }, read: () => Promise<unknown>) {
    const dead = await makeDeadRows(fixture, { queue, slot, rows: 5000 });
    try {
      await read();
      await session.close();
      await eventually(async () => expect(await dead.passed()).toBeGreaterThanOrEqual(1));
      return Math.floor(await dead.passed());
    } finally {
      await dead.release();
    }
  }

  test.each([
    { leftOut: [], times: 1 },
    { leftOut: [{ topic: 'orders', key: 'other' }], times: 2 },
  ])('by a relay: $leftOut', async ({ leftOut, times }) => {
    const session = await openSession(readerOptions(fixture));
    const read = () => session.read(after, { topics: [], keys: leftOut }, readLimit);
    expect(await passed('outbox', session, read)).toBe(times);
  });

  test.each([
    { leftOut: [], held: false, times: 1 },
    { leftOut: ['other'], held: false, times: 2 },
    { leftOut: [], held: true, times: 2 },
  ])('by a local worker: $leftOut, a dead letter $held', async ({ leftOut, held, times }) => {
    if (held) {
      await fixture.admin`
        INSERT INTO dead_letter (topic, event_id, type, msg_key, body, headers, reason, detail, attempts, holds_key)
        VALUES ('self', 'e', 'T', 'other', '', '{}', 'invariant', 'never', 1, true)`;
    }
    const session = await openLocalSession(readerOptions(fixture));
    const read = () => session.read(after, leftOut, readLimit);
    expect(await passed('outbox_local', session, read)).toBe(times);
  });
});
