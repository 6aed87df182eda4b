import type postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { cutProxy } from '../../../tests/cut-proxy.ts';
import { eventually, type Fixture, openFixture, outbox, pause, placed, remind } from './fixture.ts';
import { readerOptions, readLimit } from './fixture-reader.ts';
import { openLocalSession } from './local-session.ts';
import { openSession } from './relay-session.ts';
import { slotOf } from './slot.ts';

let fixture: Fixture;

beforeAll(async () => {
  fixture = await openFixture('slot_session');
});
afterAll(async () => {
  await fixture?.close();
});
beforeEach(() => fixture.clear());

async function open(kind: 'relay' | 'local worker', url = fixture.urls.url) {
  const options = readerOptions(fixture, url);
  if (kind === 'relay') {
    const session = await openSession(options);
    return {
      ...session,
      readAll: (from: Map<number, bigint>) => session.read(from, { topics: [], keys: [] }, readLimit),
    };
  }
  const session = await openLocalSession(options);
  return { ...session, readAll: (from: Map<number, bigint>) => session.read(from, [], readLimit) };
}

test.each(['relay', 'local worker'] as const)(
  'a %s whose question about all its slots takes too long asks slot by slot, and keeps them',
  async (kind) => {
    const session = await open(kind);
    try {
      await session.share();
      const slots = session.owned();
      await fixture.database.db.transaction(async (tx) => {
        await outbox.publish(tx, placed('k', 1));
        await outbox.send(tx, remind('k', 1));
      });
      // Until the first statements of both, one after the other, have had the 3 s of a statement.
      const locked = fixture.admin.begin(async (tx) => {
        await tx`LOCK TABLE ${tx(kind === 'relay' ? 'outbox' : 'outbox_local')}`;
        await pause(6500);
      });
      await pause(100);
      const read = session.readAll(new Map(slots.map((slot) => [slot, 0n])));
      const depth = session.depth(() => 0n);
      expect([...(await read).values()].flatMap((part) => part.rows)).toMatchObject([{ slot: slotOf('k') }]);
      expect(await depth).toHaveLength(slots.length);
      expect(session.owned()).toEqual(slots);
      await locked;
    } finally {
      await session.close();
    }
  },
);

test('a relay whose question about several keys takes too long asks key by key, and keeps its session', async () => {
  const session = await openSession(readerOptions(fixture));
  try {
    await fixture.database.db.transaction((tx) => outbox.publish(tx, placed('k', 1), placed('l', 1)));
    // Until the first statement has had the 3 s of a statement, and the next one is sure to wait for less.
    const locked = fixture.admin.begin(async (tx) => {
      await tx`LOCK TABLE outbox`;
      await pause(4500);
    });
    await pause(100);
    const places = ['k', 'l', 'm'].map((key) => ({ topic: 'orders', key, slot: slotOf(key), after: 0n }));
    const parts = await session.readKeys(places, readLimit);
    expect(parts.map(({ rows }) => rows.map(({ msgKey }) => msgKey))).toEqual([['k'], ['l'], []]);
    expect(session.signal.aborted).toBe(false);
    await locked;
  } finally {
    await session.close();
  }
});

test.each([
  { kind: 'relay', queue: 'outbox' },
  { kind: 'local worker', queue: 'outbox_local' },
] as const)(
  'a $kind reads its slots by their index, also when statistics say that the queue is tiny',
  async ({ kind, queue }) => {
    const session = await open(kind);
    const planOf = async (sql: postgres.Sql) => {
      const rows =
        await sql`EXPLAIN SELECT id FROM ${sql(queue)} WHERE slot = 1 AND id > 0 ORDER BY id LIMIT 10`;
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    try {
      await fixture.database.db.transaction(async (tx) => {
        await outbox.publish(tx, placed('k', 1));
        await outbox.send(tx, remind('k', 1));
      });
      await fixture.admin`ANALYZE ${fixture.admin(queue)}`;
      expect(await planOf(fixture.admin), 'control').toContain('Seq Scan');
      expect(await session.run(planOf)).toContain(`using ${queue}_pkey on `);
      expect(await session.run((sql) => sql`SHOW enable_bitmapscan`)).toMatchObject([
        { enable_bitmapscan: 'off' },
      ]);
    } finally {
      await session.close();
    }
  },
);

test('rows that came before a statement failed are not in the next answer', async () => {
  const session = await open('relay');
  try {
    const failed = session.run((sql) => sql`SELECT 6 / (3 - n) AS n FROM generate_series(1, 5) AS n`);
    await expect(failed).rejects.toThrow('division by zero');
    expect([...(await session.run((sql) => sql`SELECT 7 AS n`))]).toEqual([{ n: 7 }]);
  } finally {
    await session.close();
  }
});

test('a session whose database falls silent after a statement that failed is lost, and can be closed', async () => {
  const proxy = await cutProxy(fixture.urls.url);
  const session = await open('relay', proxy.url);
  const failed = session.run((sql) =>
    sql`SELECT 1 / 0`.catch((err: unknown) => {
      proxy.silence(); // before anything else is sent
      throw err;
    }),
  );
  await expect(failed).rejects.toThrow('division by zero');
  await eventually(() => expect(session.signal.aborted).toBe(true));
  await session.close();
});
