import type { Transaction } from '@sidecart/kit/db';
import { connectDatabase } from '@sidecart/kit/db';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { testDatabase } from '../../../tests/postgres.ts';
import { eventually, type Fixture, openFixture, openTransaction } from './fixture.ts';

// Other ways to read events, in the situations that they are known to fail in, beside the read model in the same.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('order');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

type Read = () => Promise<string[]>;

/** Stream and version of what a reader by (transaction, position) is given next, once all transactions before it are over. */
function byTransaction(): Read {
  let last = { xid: '0', pos: '0' };
  return async () => {
    const rows = await fixture.admin<{ xid: string; pos: string; at: string }[]>`
      SELECT xid::text, pos::text, stream_id || version AS at FROM events
      WHERE (xid, pos) > (${last.xid}::text::xid8, ${last.pos}::bigint) AND xid < pg_snapshot_xmin(pg_current_snapshot())
      ORDER BY xid, pos`;
    last = rows.at(-1) ?? last;
    return rows.map(({ at }) => at);
  };
}

/** The same of a reader that goes on behind the highest position it has seen. */
function byPosition(): Read {
  let last = '0';
  return async () => {
    const rows = await fixture.admin<{ pos: string; at: string }[]>`
      SELECT pos::text, stream_id || version AS at FROM events WHERE pos > ${last}::bigint ORDER BY pos`;
    last = rows.at(-1)?.pos ?? last;
    return rows.map(({ at }) => at);
  };
}

const takeXid = (tx: Transaction) => tx.execute(sql`SELECT pg_current_xact_id()`);
const deposit = (id: string) => fixture.run(id, { type: 'Deposit', pence: 1 });
const depositIn = (id: string) => (tx: Transaction) =>
  fixture.store.handle(tx, id, { type: 'Deposit', pence: 1 });
const seen = (...rows: [id: string, events: number][]) =>
  eventually(async () =>
    expect(await fixture.balances()).toMatchObject(rows.map(([id, events]) => ({ id, events, disorder: 0 }))),
  );

describe('a transaction that takes its number early and comes to its stream late', () => {
  async function situation() {
    const early = await openTransaction(fixture.database, takeXid);
    await deposit('a');
    await early(depositIn('a'));
  }

  it('is read behind the one that was before it at the stream', async () => {
    await situation();
    fixture.project();
    await seen(['a', 2]);
  });

  it('also while it is waited for', async () => {
    fixture.project();
    await situation();
    await situation();
    await seen(['a', 4]);
  });

  it('control: a reader by (transaction, position) turns the two around', async () => {
    const read = byTransaction();
    await situation();
    const all: string[] = [];
    await eventually(async () => {
      all.push(...(await read()));
      expect(all).toEqual(['a2', 'a1']);
    });
  });
});

describe('a position that is taken early and committed late', () => {
  async function situation(look: () => Promise<void>) {
    const late = await openTransaction(fixture.database, depositIn('late'));
    await deposit('other');
    await look();
    await late();
  }

  it('is read', async () => {
    fixture.project();
    await situation(() => seen(['other', 1]));
    await seen(['late', 1], ['other', 1]);
  });

  it('control: a reader that goes on behind the highest position skips it for ever', async () => {
    const read = byPosition();
    await situation(async () => expect(await read()).toEqual(['other1']));
    await deposit('other');
    expect(await read()).toEqual(['other2']);
  });
});

describe('positions that were rolled back', () => {
  it('are waited for by nobody', async () => {
    fixture.project();
    for (let i = 0; i < 3; i++) {
      const undone = await openTransaction(fixture.database, depositIn(`undone${i}`));
      await deposit('a');
      await undone(() => Promise.reject(new Error('undo'))).catch(() => {});
    }
    await seen(['a', 3]);
  });
});

describe('a transaction that stays open, with a number,', () => {
  it('in this database holds up nothing', async () => {
    fixture.project();
    const end = await openTransaction(fixture.database, takeXid);
    await deposit('a');
    await seen(['a', 1]);
    await end(depositIn('a'));
    await seen(['a', 2]);
  });

  it('in another database neither', async () => {
    const other = await testDatabase('order_other');
    const database = connectDatabase({ url: other.url, applicationName: 'other' });
    try {
      fixture.project();
      const end = await openTransaction(database, takeXid);
      await deposit('a');
      await seen(['a', 1]);
      await end();
    } finally {
      await database.close();
      await other.drop();
    }
  });

  it('control: a reader by (transaction, position) sees nothing until it ends', async () => {
    const read = byTransaction();
    const end = await openTransaction(fixture.database, takeXid);
    await deposit('a');
    expect(await read()).toEqual([]);
    await end();
    await eventually(async () => expect(await read()).toEqual(['a1']));
  });
});

describe('many writers that take their numbers early, at once', () => {
  it('are read once each, in the order of their streams', async () => {
    fixture.project();
    const streams = ['a', 'b', 'c'];
    await Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        for (let i = 0; i < 40; i++)
          await fixture.database.db.transaction(async (tx) => {
            if ((writer + i) % 3 === 0) await takeXid(tx);
            await depositIn(streams[(writer + i) % 3] as string)(tx);
          });
      }),
    );
    const rows = await fixture.admin<{ stream_id: string; n: number }[]>`
      SELECT stream_id, count(*)::int AS n FROM events GROUP BY 1 ORDER BY 1`;
    await seen(...rows.map(({ stream_id, n }): [string, number] => [stream_id, n]));
    expect(rows.reduce((sum, { n }) => sum + n, 0)).toBe(320);
  });
});
