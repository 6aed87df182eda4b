import { connectDatabase, type Transaction } from '@sidecart/kit/db';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { cutProxy } from '../../../tests/cut-proxy.ts';
import { advance } from './advance.ts';
import { condenseStream } from './condense.ts';
import {
  type AccountEvent,
  account,
  balances,
  eventually,
  type Fixture,
  openFixture,
  pause,
} from './fixture.ts';
import type { Projection } from './projection.ts';
import { restoreStream } from './restore.ts';
import { beginBuilding, dropGeneration, listSubscriptions, type SubscriptionStatus } from './subscription.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('projector');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

const decision = { by: 'test', reason: 'to see' };
const deposit = (id: string, times = 1) => fixture.run(id, { type: 'Deposit', pence: 1, times });
const seen = (...rows: [id: string, events: number][]) =>
  eventually(async () =>
    expect(await fixture.balances()).toMatchObject(rows.map(([id, events]) => ({ id, events, disorder: 0 }))),
  );
const generation = (n: number) => eventually(async () => expect(await fixture.liveGeneration()).toBe(n));
const subscriptions = (...rows: Partial<SubscriptionStatus>[]) =>
  eventually(async () => expect(await listSubscriptions(fixture.database)).toMatchObject(rows));

/** The read model, with something done before each apply. */
function balancesWith(
  before: (tx: Transaction, generation: number, events: number) => Promise<unknown> | undefined,
  o: { codeVersion?: number } = {},
): Projection<AccountEvent> {
  return {
    ...balances,
    ...o,
    async apply(tx, generation, events) {
      await before(tx, generation, events.length);
      await balances.apply(tx, generation, events);
    },
  };
}

describe('a read model', () => {
  it('follows what is appended, in this process within moments, and reads nothing twice', async () => {
    fixture.project();
    for (const id of ['a', 'b', 'a', 'c', 'a']) await deposit(id, 10);
    await seen(['a', 30], ['b', 10], ['c', 10]);
  });

  it('does a difference of more than a page in pages, in order', async () => {
    fixture.project();
    await deposit('a');
    await seen(['a', 1]);
    await fixture.database.db.transaction(async (tx) => {
      for (let i = 0; i < 13; i++)
        await fixture.store.handle(tx, 'a', { type: 'Deposit', pence: 1, times: 500 });
    });
    await seen(['a', 6501]);
  });

  it('of events that its own apply appends sees each once', async () => {
    const answered = balancesWith(async (tx) => {
      // Others take numbers and end meanwhile, so that this transaction's is below the end of its snapshot.
      await deposit('b');
      const { version } = await fixture.store.load(tx, 'a');
      if (version < 20) await fixture.store.handle(tx, 'a', { type: 'Deposit', pence: 1 });
    });
    await deposit('a');
    const projector = fixture.project({ projection: answered });
    await eventually(async () =>
      expect((await fixture.balances())[0]).toMatchObject({ id: 'a', events: 20 }),
    );
    await projector.stop();
    expect((await fixture.balances()).map(({ disorder }) => disorder)).toEqual([0, 0]);
  });

  it('takes no lock, and no number of a transaction, while nothing happens', async () => {
    fixture.project();
    fixture.project();
    await deposit('a', 3);
    await seen(['a', 3]);
    // As if another had been running when it was last looked.
    await fixture.admin`UPDATE subscriptions SET done = ('3:' || pg_snapshot_xmax(done)::text || ':3')::pg_snapshot`;
    await eventually(async () => {
      // What locks a row leaves its number in it.
      const locked = async () =>
        (await fixture.admin`SELECT xmin::text, xmax::text FROM subscriptions`).map((row) => ({ ...row }));
      const before = await locked();
      await pause(300);
      expect(await locked()).toEqual(before);
    });
  });

  it('does not read again and again what only has been condensed', async () => {
    fixture.project();
    await fixture.fill('a', 5);
    await seen(['a', 5]);
    await condenseStream(fixture.deps, 'a', decision);
    await eventually(async () => {
      const [{ rows }] = (await fixture.admin`
        SELECT count(*)::int AS rows FROM events e, subscriptions s WHERE NOT pg_visible_in_snapshot(e.xid, s.done)`) as unknown as [
        { rows: number },
      ];
      expect(rows).toBe(0);
    });
    await seen(['a', 5]);
  });
});

describe('replicas', () => {
  it('do each event once between them', async () => {
    for (let i = 0; i < 3; i++) fixture.project();
    await Promise.all(
      ['a', 'b', 'c', 'd'].map(async (id) => {
        for (let i = 0; i < 25; i++) await deposit(id, 2);
      }),
    );
    await seen(['a', 50], ['b', 50], ['c', 50], ['d', 50]);
  });

  it('control: without the lock of the position they do some twice', async () => {
    await deposit('a', 50);
    const racing = async () =>
      fixture.database.db.transaction(async (tx) => {
        const [row] = await tx.execute<{ n: number }>(sql`SELECT count(*)::int AS n FROM events`);
        await pause(100);
        await tx.execute(sql`INSERT INTO balance AS b VALUES (1, 'a', 0, ${row?.n}, 0, 0)
          ON CONFLICT (generation, id) DO UPDATE SET events = b.events + excluded.events`);
      });
    await Promise.all([racing(), racing()]);
    expect(await fixture.balances(1)).toMatchObject([{ events: 100 }]);
  });

  it('go on when one dies in the middle of a batch: its part is undone and done by another', async () => {
    await deposit('a', 30);
    const proxy = await cutProxy(fixture.urls.url);
    const database = connectDatabase({ url: proxy.url, applicationName: 'dying' });
    onTestFinished(() => database.close());
    const dying = fixture.project({ database });
    const cut = proxy.cutAfter('UPDATE');
    await cut;
    fixture.project();
    await seen(['a', 30]);
    await dying.stop();
  });

  it('go on when one dies at its commit, which was done: nothing is done twice', async () => {
    const proxy = await cutProxy(fixture.urls.url);
    const database = connectDatabase({ url: proxy.url, applicationName: 'dying' });
    onTestFinished(() => database.close());
    fixture.project({ database });
    for (let i = 0; i < 2; i++) {
      const cut = proxy.cutAfter('COMMIT');
      await deposit('a', 3);
      await cut;
    }
    await seen(['a', 6]);
  });

  it('control: a position that is kept in another transaction than the effect does them twice', async () => {
    await deposit('a', 3);
    const half = async () => {
      await fixture.admin`INSERT INTO balance AS b VALUES (1, 'a', 0, 3, 0, 0)
        ON CONFLICT (generation, id) DO UPDATE SET events = b.events + excluded.events`;
      throw new Error('died before the position');
    };
    await half().catch(() => {});
    await half().catch(() => {});
    expect(await fixture.balances(1)).toMatchObject([{ events: 6 }]);
  });
});

describe('a read model that fails', () => {
  it('shows in the health details, holds up no other, and heals', async () => {
    let broken = true;
    let counted = 0;
    const beside: Projection<AccountEvent> = {
      name: 'beside',
      codeVersion: 1,
      apply: async (_tx, _generation, events) => {
        counted += events.length;
      },
      discard: async () => 0,
    };
    const projector = fixture.project({
      beside,
      projection: balancesWith(() => (broken ? Promise.reject(new Error('a bug')) : undefined)),
    });
    await deposit('a', 3);
    await eventually(() =>
      expect(projector.health.details().components.projections).toMatchObject({
        status: 'degraded',
        reason: expect.stringContaining('a bug'),
      }),
    );
    expect(await fixture.balances(1)).toEqual([]);
    const failed = performance.now();
    for (const more of [1, 2, 3]) {
      await deposit('a');
      await eventually(() => expect(counted).toBe(3 + more));
    }
    // Not once in each pause of the one that fails.
    expect(performance.now() - failed).toBeLessThan(1500);
    broken = false;
    await seen(['a', 6]);
    await eventually(() =>
      expect(projector.health.details().components.projections).toEqual({ status: 'ok' }),
    );
  });
});

describe('a rebuild', () => {
  it('makes the same rows beside those that are read, also of archives, and throws the old ones away', async () => {
    const projector = fixture.project();
    for (const id of ['a', 'b', 'c']) await fixture.fill(id, 40);
    await seen(['a', 40], ['b', 40], ['c', 40]);
    const before = await fixture.balances();
    await condenseStream(fixture.deps, 'b', decision, 20);
    await condenseStream(fixture.deps, 'b', decision, 30);
    await condenseStream(fixture.deps, 'c', decision);
    await restoreStream(fixture.deps, 'c', decision);
    expect(await projector.rebuild('balances')).toBe('begun');
    await generation(2);
    expect(await fixture.balances()).toEqual(before);
    await eventually(async () => expect(await fixture.balances(1)).toEqual([]));
    await subscriptions({ generation: 2, state: 'live', built: 120, toBuild: 120, behind: 0 });
  });

  it('of a name that there is not is refused', async () => {
    const projector = fixture.project();
    await expect(projector.rebuild('nothing')).rejects.toMatchObject({ code: 'unknown_projection' });
  });

  it('while events come all the time skips none and does none twice, and what is read stands still at no time', async () => {
    const projector = fixture.project();
    let writing = true;
    onTestFinished(() => {
      writing = false;
    });
    const written = Promise.all(
      ['a', 'b', 'c', 'd'].map(async (id) => {
        for (let i = 0; writing; i++) await deposit(id, (i % 3) + 1);
      }),
    );
    // Before each switch so many events that it takes several pages.
    await fixture.database.db.transaction(async (tx) => {
      for (let i = 0; i < 12; i++)
        await fixture.store.handle(tx, 'z', { type: 'Deposit', pence: 1, times: 500 });
    });
    let last = 0;
    let looks = 0;
    const looking = (async () => {
      while (writing) {
        // As a service reads it: by the generation that is read, in the same statement.
        const now = (await fixture.balances()).reduce((sum, { events }) => sum + events, 0);
        expect(now).toBeGreaterThanOrEqual(last);
        last = now;
        looks++;
      }
    })();
    await generation(1);
    for (const next of [2, 3, 4]) {
      expect(await projector.rebuild('balances')).toBe('begun');
      await generation(next);
    }
    writing = false;
    await written;
    await looking;
    expect(looks).toBeGreaterThan(20);
    const truth = await fixture.admin<{ stream_id: string; n: number }[]>`
      SELECT stream_id, version::int AS n FROM streams ORDER BY 1`;
    await seen(...truth.map(({ stream_id, n }): [string, number] => [stream_id, n]));
  });

  it('is switched to with all that was read before, also what comes in its last moment', async () => {
    const told = { calls: 0, before: 0, after: 0 };
    const sum = async (n?: number) =>
      (await fixture.balances(n)).reduce((all, { events }) => all + events, 0);
    const watched = balancesWith(async (_tx, n) => {
      if (n !== 2) return;
      told.calls++;
      // The history; what came since; what came during that; and now comes what would be missing.
      if (told.calls <= 3) await deposit('a');
      if (told.calls === 3) {
        const until = performance.now() + 500;
        while (performance.now() < until && (await sum(1)) < 6) await pause(10);
        told.before = await sum(1);
      }
      if (told.calls === 4) told.after = await sum();
    });
    await deposit('a', 3);
    const projector = fixture.project({ projection: watched });
    await seen(['a', 3]);
    await projector.rebuild('balances');
    await generation(2);
    await seen(['a', 6]);
    expect(told.calls).toBe(4);
    expect(told.after).toBeGreaterThanOrEqual(told.before);
  });

  it('holds up nothing of what is read while it builds, however long that takes', async () => {
    await deposit('a', 3);
    const go = Promise.withResolvers<void>();
    const slow = balancesWith((_tx, n) => (n === 2 ? go.promise : undefined));
    const projector = fixture.project({ projection: slow });
    await seen(['a', 3]);
    await projector.rebuild('balances');
    await pause(100);
    await deposit('a', 3);
    await seen(['a', 6]);
    expect(await fixture.liveGeneration()).toBe(1);
    go.resolve();
    await generation(2);
    await seen(['a', 6]);
  });

  it('that is begun twice at once is one', async () => {
    const projector = fixture.project();
    await deposit('a', 3);
    await seen(['a', 3]);
    const begun = await Promise.all([1, 2, 3].map(() => projector.rebuild('balances')));
    expect(begun.filter((one) => one === 'begun').length).toBeGreaterThanOrEqual(1);
    await subscriptions({ state: 'live' });
    await seen(['a', 3]);
  });

  it('that dies in the middle goes on where it was', async () => {
    await fixture.fill('a', 2000);
    let calls = 0;
    const dies = balancesWith(() => (++calls === 2 ? Promise.reject(new Error('died')) : undefined));
    await fixture.fill('b', 5000);
    fixture.project({ projection: dies });
    await seen(['a', 2000], ['b', 5000]);
  });
});

describe('a new version of the code', () => {
  it('builds its rows beside those of the old, which is followed until then', async () => {
    await deposit('a', 3);
    const old = fixture.project();
    await seen(['a', 3]);
    const go = Promise.withResolvers<void>();
    fixture.project({ projection: balancesWith(() => go.promise, { codeVersion: 2 }) });
    await pause(100);
    await deposit('a', 3);
    await seen(['a', 6]);
    expect(await fixture.liveGeneration()).toBe(1);
    go.resolve();
    await generation(2);
    await deposit('a');
    await seen(['a', 7]);
    await old.stop();
  });

  it('says that what is read stands still when the old ends before it has built its own', async () => {
    await deposit('a', 3);
    const old = fixture.project();
    await seen(['a', 3]);
    const go = Promise.withResolvers<void>();
    const newer = fixture.project({ projection: balancesWith(() => go.promise, { codeVersion: 2 }) });
    await old.stop();
    await deposit('a');
    await pause(200);
    await seen(['a', 3]);
    expect(newer.health.details().components.projections).toEqual({ status: 'ok' });
    await fixture.admin`UPDATE events SET at = at - interval '1 minute'`;
    await eventually(() =>
      expect(newer.health.details().components.projections).toMatchObject({
        status: 'degraded',
        reason: expect.stringContaining('stands still until version 2 is built'),
      }),
    );
    go.resolve();
    await generation(2);
    await seen(['a', 4]);
    await eventually(() => expect(newer.health.details().components.projections).toEqual({ status: 'ok' }));
  });

  it('is left alone by the old, which says so when nobody follows it any more', async () => {
    await deposit('a', 3);
    const newer = fixture.project({ projection: { ...balances, codeVersion: 2 } });
    await seen(['a', 3]);
    await newer.stop();
    const old = fixture.project();
    await deposit('a');
    await pause(200);
    await seen(['a', 3]);
    expect(old.health.details().components.projections).toEqual({ status: 'ok' });
    await fixture.admin`UPDATE events SET at = at - interval '1 minute'`;
    await eventually(() =>
      expect(old.health.details().components.projections).toMatchObject({
        status: 'degraded',
        reason: expect.stringContaining('rebuild balances'),
      }),
    );
    expect(await old.rebuild('balances')).toBe('begun');
    await generation(2);
    await seen(['a', 4]);
    await eventually(() => expect(old.health.details().components.projections).toEqual({ status: 'ok' }));
  });

  it('gives up what the old was building, so that it does not wait for code that is gone', async () => {
    await deposit('a', 3);
    await beginBuilding(fixture.database, 'balances', 1, { asked: false });
    fixture.project({ projection: { ...balances, codeVersion: 2 } });
    await generation(2);
    await seen(['a', 3]);
    await subscriptions({ generation: 2, codeVersion: 2 });
  });

  it('that was building when it was taken back is given up by who asks for a rebuild', async () => {
    await deposit('a', 3);
    const old = fixture.project();
    await seen(['a', 3]);
    await beginBuilding(fixture.database, 'balances', 2, { asked: false });
    await pause(100);
    expect(await fixture.liveGeneration()).toBe(1);
    expect(await old.rebuild('balances')).toBe('begun');
    await generation(3);
    await seen(['a', 3]);
  });

  it('writes to no rows of another version, however late it is', async () => {
    await deposit('a', 3);
    await beginBuilding(fixture.database, 'balances', 2, { asked: false });
    const o = { database: fixture.database, shapes: account.events };
    expect(await advance(o, balances, 1)).toMatchObject({ more: false, applied: { events: 0 } });
    expect(await advance(o, { ...balances, codeVersion: 2 }, 1)).toMatchObject({ more: true });
  });

  it('gives no number out twice', async () => {
    // The number of the youngest stays taken, though its rows are gone: who is late with throwing them away does no harm.
    await beginBuilding(fixture.database, 'balances', 1, { asked: false });
    await fixture.admin`UPDATE subscriptions SET state = 'retired'`;
    await dropGeneration(fixture.database.db, 'balances', 1);
    await beginBuilding(fixture.database, 'balances', 1, { asked: false });
    expect(await listSubscriptions(fixture.database)).toMatchObject([
      { generation: 1, state: 'retired' },
      { generation: 2, state: 'building' },
    ]);
  });
});
