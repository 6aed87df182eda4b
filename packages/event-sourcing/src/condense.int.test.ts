import { connectDatabase, type Database, isTransientDbError, type Transaction } from '@sidecart/kit/db';
import { runPrepared } from '@sidecart/messaging/prepared';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { cutProxy } from '../../../tests/cut-proxy.ts';
import { type AnyAggregate, CONDENSED } from './aggregate.ts';
import type { ArchiveStore } from './archive.ts';
import { type CondenseDeps, condenseStream } from './condense.ts';
import { NEXT_PAGE } from './condense-plan.ts';
import {
  account,
  archiveElsewhere,
  eventually,
  type Fixture,
  openFixture,
  openTransaction,
  pause,
} from './fixture.ts';
import { loadStream } from './load.ts';
import { byIndex } from './reader.ts';
import { restoreStream } from './restore.ts';
import { writeSnapshot } from './snapshots.ts';
import { beginBuilding } from './subscription.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('condense');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

const decision = { by: 'ana', reason: 'it is old' };
const condense = (id: string, upTo?: number, change: Partial<CondenseDeps> = {}) =>
  condenseStream({ ...fixture.deps, ...change }, id, decision, upTo);
const load = (id: string) => fixture.store.load(fixture.database.db, id);
const archives = () =>
  fixture.admin`SELECT stream_id, from_version::int, to_version::int, events, condensed_by, reason FROM events_archive ORDER BY id`;
/** The database, with something done before each transaction, and before each statement that is in none. */
function withBefore(work: () => Promise<void>): Database {
  const { db } = fixture.database;
  const prepareQuery: typeof db._.session.prepareQuery = (...args) => {
    const query = db._.session.prepareQuery(...args);
    const execute = async () => {
      await work();
      return query.execute();
    };
    return { execute } as unknown as typeof query;
  };
  const _ = { session: { prepareQuery } };
  const transaction: typeof db.transaction = async (...args) => {
    await work();
    return db.transaction(...args);
  };
  const changed = new Proxy(db, {
    get: (target, name) =>
      name === '_' ? _ : name === 'transaction' ? transaction : Reflect.get(target, name),
  });
  return { ...fixture.database, db: changed };
}

describe('condensing', () => {
  it('puts one event with the whole state in the place of all, keeps them, and tells who and why', async () => {
    await fixture.fill('a', 40);
    const before = await load('a');
    expect(await condense('a')).toEqual({ streamId: 'a', fromVersion: 1, toVersion: 40, events: 40 });
    expect(await fixture.rows('a')).toEqual([{ version: 40, type: CONDENSED }]);
    expect(await load('a')).toEqual(before);
    expect([...(await archives())]).toEqual([
      {
        stream_id: 'a',
        from_version: 1,
        to_version: 40,
        events: 40,
        condensed_by: 'ana',
        reason: 'it is old',
      },
    ]);
    const [meta] = await fixture.admin`SELECT meta FROM events`;
    expect(meta?.meta).toMatchObject({ actor: 'ana', reason: 'it is old' });
  });

  it('of the events up to a version leaves the later ones, and versions go on as before', async () => {
    await fixture.fill('a', 40);
    const before = await load('a');
    await condense('a', 30);
    expect((await fixture.rows('a')).map(({ version }) => version)).toEqual([30, ...range(31, 40)]);
    expect(await load('a')).toEqual(before);
    await fixture.run('a', { type: 'Deposit', pence: 1 });
    expect((await load('a')).version).toBe(41);
  });

  it('again takes the aggregate event in, and counts only what happened', async () => {
    await fixture.fill('a', 10);
    await condense('a');
    await fixture.run('a', { type: 'Deposit', pence: 1, times: 5 });
    const before = await load('a');
    expect(await condense('a')).toMatchObject({ fromVersion: 10, toVersion: 15, events: 5 });
    expect(await load('a')).toEqual(before);
    expect((await archives()).map(({ events }) => events)).toEqual([10, 5]);
  });

  it('of a stream of several pages, whole or up to a version in the middle of one, gives the same, and the very rows back', async () => {
    const rows = () => fixture.admin`SELECT to_jsonb(e) - 'xid' AS row FROM events e ORDER BY pos`;
    for (const upTo of [1000, 1250, undefined]) {
      await fixture.clear();
      await fixture.fill('a', 1300);
      const [before, all] = [await load('a'), [...(await rows())]];
      expect(await condense('a', upTo)).toMatchObject({ toVersion: upTo ?? 1300, events: upTo ?? 1300 });
      expect(await load('a')).toEqual(before);
      await restoreStream(fixture.deps, 'a', decision);
      expect([...(await rows())]).toEqual(all);
    }
  });

  it('finds each page of a stream by an index, also before PostgreSQL has statistics', async () => {
    await fixture.admin`ALTER TABLE events SET (autovacuum_enabled = false)`; // or it makes them, in the middle of this
    onTestFinished(async () => void (await fixture.admin`ALTER TABLE events RESET (autovacuum_enabled)`));
    await fixture.admin`INSERT INTO events (stream_id, version, event_id, type, schema_version, data, meta, xid)
      SELECT 'a', i, gen_random_uuid(), 'Opened', 1, jsonb_build_object('x', repeat('x', 100)), '{}', '3'
      FROM generate_series(1, 100000) AS i`;
    await fixture.admin`DELETE FROM pg_statistic WHERE starelid = 'events'::regclass`;
    const plan = (tx: Transaction) =>
      runPrepared<{ 'QUERY PLAN': string }>(
        tx,
        'explain_page',
        `EXPLAIN EXECUTE page('a', '0', '100000')`,
        [],
      );
    const plans = await fixture.database.db.transaction(async (tx) => {
      await tx.execute(`PREPARE page (text, text, text) AS ${NEXT_PAGE}`);
      const both = [await byIndex(tx, () => plan(tx)), await plan(tx)];
      await tx.execute('DEALLOCATE page');
      return both.map((rows) => rows.map((row) => row['QUERY PLAN']).join('\n'));
    });
    const [found, control] = plans;
    expect(found).toMatch(/Index Scan using events_pkey/);
    expect(found).not.toMatch(/Sort|Bitmap|Seq Scan/);
    expect(control).toMatch(/Sort/);
  });

  it('of a stream with a snapshot from before it leaves the stream readable', async () => {
    await fixture.fill('a', 10);
    await writeSnapshot({ ...fixture.deps, every: 1 }, 'a');
    await fixture.run('a', { type: 'Deposit', pence: 1, times: 10 });
    const { state } = await load('a');
    await condense('a', 18);
    expect(await load('a')).toEqual({ state, version: 20, snapshotVersion: 10, snapshotDamaged: false });
  });
});

describe('condensing is refused, and nothing is changed,', () => {
  async function refused(code: string, work: () => Promise<unknown>) {
    const before = await everything();
    await expect(work()).rejects.toMatchObject({ name: 'CondenseRefusedError', code });
    expect(await everything()).toEqual(before);
  }
  const everything = async () => [
    ...(await fixture.admin`SELECT to_jsonb(e) AS row FROM events e ORDER BY pos`),
    ...(await fixture.admin`SELECT to_jsonb(s) AS row FROM streams s ORDER BY stream_id`),
    ...(await fixture.admin`SELECT to_jsonb(a) AS row FROM events_archive a ORDER BY id`),
  ];

  const leaveMessage = (id: string) => fixture.admin`
    INSERT INTO outbox (slot, topic, msg_key, event_id, key_seq, type, payload, headers)
    VALUES (0, 'accounts', ${id}, '01a2b3c4-0000-7000-8000-000000000000', 1, 'T', '{}', '{}')`;

  it('of a stream that is not there, or is of another type', async () => {
    await refused('no_stream', () => condense('a'));
    await fixture.fill('a', 3);
    await refused('no_stream', () => condense('a', undefined, { aggregate: { ...account, type: 'other' } }));
  });

  it('where there are no two events', async () => {
    await fixture.fill('a', 3);
    await refused('nothing_to_condense', () => condense('a', 1));
    await refused('nothing_to_condense', () => condense('a', 4));
    await condense('a');
    await refused('nothing_to_condense', () => condense('a'));
  });

  it('when JSON cannot say the state, so that it would be another one', async () => {
    await fixture.fill('a', 3);
    const aggregate: AnyAggregate = {
      ...account,
      initialState: () => new Map(),
      evolve: (state: Map<number, string>, { type }: { type: string }) =>
        new Map(state).set(state.size, type),
    };
    await refused('replay_differs', () => condense('a', undefined, { aggregate }));
    await refused('replay_differs', () => condense('a', 2, { aggregate }));
  });

  it('when what follows makes something else of the state as it is read back', async () => {
    await fixture.fill('a', 3);
    const first = { n: 0 };
    // A state that is told from another by being the very same object.
    const aggregate: AnyAggregate = {
      ...account,
      initialState: () => first,
      evolve: (state: { n: number }) => (state === first ? first : { n: 1 }),
    };
    await refused('replay_differs', () => condense('a', 2, { aggregate }));
  });

  it('when this code does not know an event of it, or its shape, and would leave it out for ever', async () => {
    await fixture.fill('a', 3);
    const { Deposited: _, ...known } = account.events;
    await refused('unknown_shape', () =>
      condense('a', undefined, { aggregate: { ...account, events: known } as AnyAggregate }),
    );
    await fixture.admin`UPDATE events SET schema_version = 2 WHERE version = 3`;
    await refused('unknown_shape', () => condense('a'));
  });

  it('while a read model has not done its events', async () => {
    const projector = fixture.project();
    await fixture.fill('a', 3);
    await eventually(async () => expect(await fixture.balances()).toMatchObject([{ events: 3 }]));
    await projector.stop();
    await fixture.run('a', { type: 'Deposit', pence: 1 });
    await refused('projection_behind', () => condense('a'));
    await condense('a', 3);
    fixture.project();
    await eventually(async () =>
      expect(await fixture.balances()).toMatchObject([{ events: 4, disorder: 0 }]),
    );
    await condense('a');
  });

  it('while a read model is in the middle of a large difference', async () => {
    await fixture.fill('a', 3);
    await fixture.admin`INSERT INTO subscriptions (name, generation, code_version, state, done, target, after_pos, origin)
      SELECT 'balances', 1, 1, 'live', '3:3:', pg_current_snapshot(), 1000000,
        (SELECT system_identifier FROM pg_control_system()) || '/' || oid FROM pg_database WHERE datname = current_database()`;
    await refused('projection_behind', () => condense('a'));
  });

  it('while a read model is being built', async () => {
    await fixture.fill('a', 3);
    await beginBuilding(fixture.database, 'balances', 1, { asked: true });
    await refused('projection_behind', () => condense('a'));
  });

  it('while the position of a read model is of another server, for nobody knows what it has done', async () => {
    fixture.project();
    await fixture.fill('a', 3);
    await eventually(async () => expect(await fixture.balances()).toMatchObject([{ events: 3 }]));
    await fixture.admin`UPDATE subscriptions SET origin = 'elsewhere'`;
    await refused('foreign_position', () => condense('a'));
  });

  it.each(['outbox', 'outbox_local', 'outbox_delayed'])(
    'while a message of it waits in %s',
    async (table) => {
      await fixture.fill('a', 3);
      const id = '01a2b3c4-0000-7000-8000-000000000000';
      if (table === 'outbox')
        await fixture.admin`INSERT INTO outbox (slot, topic, msg_key, event_id, key_seq, type, payload, headers)
        VALUES (0, 'accounts', 'a', ${id}, 1, 'T', '{}', '{}')`;
      else if (table === 'outbox_local')
        await fixture.admin`INSERT INTO outbox_local (slot, msg_key, event_id, key_seq, type, payload, headers)
        VALUES (0, 'a', ${id}, 1, 'T', '{}', '{}')`;
      else
        await fixture.admin`INSERT INTO outbox_delayed (due_at, topic, msg_key, event_id, type, payload, headers)
        VALUES (now(), 'self', 'a', ${id}, 'T', '{}', '{}')`;
      await refused('message_unsent', () => condense('a'));
      await fixture.admin`UPDATE ${fixture.admin(table)} SET msg_key = 'b'`;
      await condense('a');
    },
  );

  it('and finds what waits of it by an index: every closed stream leaves deadlines of weeks there', async () => {
    await fixture.admin`INSERT INTO outbox_delayed (due_at, topic, msg_key, event_id, type, payload, headers)
      SELECT now() + interval '14 days', 'self', 'k' || i, gen_random_uuid(), 'T', '{}', '{}' FROM generate_series(1, 20000) AS i`;
    await fixture.admin`ANALYZE outbox_delayed`;
    const plan = async () =>
      JSON.stringify(await fixture.admin`EXPLAIN SELECT FROM outbox_delayed WHERE msg_key = 'a'`);
    expect(await plan()).toMatch(/Index (Only )?Scan|Bitmap Index Scan/);
    // Control: without it all of them are read.
    await fixture.admin.begin(async (tx) => {
      await tx`DROP INDEX outbox_delayed_of_key`;
      expect(JSON.stringify(await tx`EXPLAIN SELECT FROM outbox_delayed WHERE msg_key = 'a'`)).toMatch(
        /Seq Scan/,
      );
      await tx`ROLLBACK`;
    });
  });

  it('while a message of it is kept for receivers that miss it', async () => {
    await fixture.fill('a', 3);
    await fixture.admin`INSERT INTO sent (id, topic, msg_key, key_seq, event_id, type, payload, headers)
      VALUES (1, 'accounts', 'a', 1, '01a2b3c4-0000-7000-8000-000000000000', 'T', '{}', '{}')`;
    await refused('message_kept', () => condense('a'));
    await condense('a', undefined, { topics: ['others'] });
  });

  it('before anything is read, compressed or put away for it', async () => {
    const { store, kept } = archiveElsewhere();
    const statements: number[] = [];
    const database = withBefore(async () => void statements.push(1));
    await fixture.fill('a', 20);
    await leaveMessage('a');
    await refused('message_unsent', () => condense('a', undefined, { archive: store, database }));
    await beginBuilding(fixture.database, 'balances', 1, { asked: true });
    await refused('projection_behind', () => condense('a', undefined, { archive: store, database }));
    expect(kept.size).toBe(0);
    // The head and both questions; the head and the first of them. No page of the stream.
    expect(statements).toHaveLength(3 + 2);
  });

  it('also for what comes up while it is put away; what was put is found by its name, and is the same one when asked again', async () => {
    await fixture.fill('a', 20);
    const { store, kept } = archiveElsewhere(async () => {
      if (kept.size === 1 && !left) await leaveMessage('a');
      left = true;
    });
    let left = false;
    await refused('message_unsent', () => condense('a', undefined, { archive: store }));
    const [name] = kept.keys();
    expect(name).toMatch(/^a\/1-20-[0-9a-f]{16}$/);
    await fixture.admin`DELETE FROM outbox`;
    await condense('a', undefined, { archive: store });
    expect([...kept.keys()]).toEqual([name]);
    expect(await fixture.admin`SELECT location FROM events_archive`).toEqual([{ location: name }]);
  });

  it('when somebody else condenses it at the same time', async () => {
    await fixture.fill('a', 20);
    const { store } = archiveElsewhere(() => condense('a', 10));
    const late = condense('a', undefined, { archive: store });
    await expect(late).rejects.toMatchObject({ code: 'changed_meanwhile' });
    expect((await load('a')).state.balance).toBe(19);
    expect(await archives()).toHaveLength(1);
  });

  it('when somebody else condenses it between two pages that are read', async () => {
    await fixture.fill('a', 1300);
    let asked = 0;
    // The head of the stream, two questions, the first page, the second.
    const database = withBefore(async () => {
      asked += 1;
      if (asked === 5) await condense('a', 600);
    });
    await expect(condense('a', undefined, { database })).rejects.toMatchObject({ code: 'changed_meanwhile' });
    expect((await load('a')).state.balance).toBe(1299);
    expect((await archives()).map(({ to_version }) => to_version)).toEqual([600]);
  });

  it('when the archive does not take it', async () => {
    await fixture.fill('a', 3);
    const store: ArchiveStore = {
      put: () => Promise.reject(new Error('no room')),
      get: () => Promise.reject(),
    };
    const before = await everything();
    await expect(condense('a', undefined, { archive: store })).rejects.toMatchObject({
      name: 'ArchiveUnavailableError',
      message: expect.stringContaining('stay where they are'),
    });
    expect(await everything()).toEqual(before);
  });
});

describe('condensing twice at once', () => {
  it('is done once', async () => {
    await fixture.fill('a', 20);
    const done = await Promise.allSettled([1, 2, 3].map(() => condense('a')));
    expect(done.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const codes = done.flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []));
    for (const code of codes) expect(['changed_meanwhile', 'nothing_to_condense']).toContain(code);
    expect(await archives()).toHaveLength(1);
    expect((await load('a')).state.balance).toBe(19);
  });
});

describe('condensing while others append', () => {
  it('holds them for a moment, fails none, and loses nothing', async () => {
    await fixture.fill('a', 2000);
    let writing = true;
    onTestFinished(() => {
      writing = false;
    });
    let longest = 0;
    const counts = await Promise.all([
      ...[1, 2, 3].map(async () => {
        let n = 0;
        for (; writing; n++) {
          const from = performance.now();
          await fixture.run('a', { type: 'Deposit', pence: 1 });
          longest = Math.max(longest, performance.now() - from);
        }
        return n;
      }),
      (async () => {
        for (let i = 0; i < 10; i++) {
          await condense('a');
          await pause(20);
        }
        writing = false;
        return 0;
      })(),
    ]);
    const appended = counts.reduce((sum, n) => sum + n, 0);
    expect(await load('a')).toMatchObject({ version: 2000 + appended, state: { balance: 1999 + appended } });
    const kept = (await archives()).reduce((sum, { events }) => sum + events, 0);
    const here = (await fixture.rows('a')).filter(({ type }) => type !== CONDENSED).length;
    expect(kept + here).toBe(2000 + appended);
    expect(longest).toBeLessThan(2000);
  });

  it('waits for one that has the lock, and keeps what that one appends', async () => {
    await fixture.fill('a', 5);
    const end = await openTransaction(fixture.database, (tx) =>
      fixture.store.handle(tx, 'a', { type: 'Deposit', pence: 100 }),
    );
    const condensing = condense('a');
    await pause(100);
    await end();
    expect(await condensing).toMatchObject({ toVersion: 5 });
    expect(await load('a')).toMatchObject({ version: 6, state: { balance: 104 } });
  });

  it('control: what deletes all there is, instead of what it has read, loses what came meanwhile', async () => {
    await fixture.fill('a', 5);
    const { store } = archiveElsewhere(() => fixture.run('a', { type: 'Deposit', pence: 100 }));
    await condense('a', undefined, { archive: store });
    expect((await load('a')).state.balance).toBe(104);
    await fixture.admin`DELETE FROM events WHERE stream_id = 'a' AND type <> ${CONDENSED}`;
    expect((await load('a')).state.balance).toBe(4);
  });
});

describe('condensing that dies', () => {
  async function throughProxy() {
    const proxy = await cutProxy(fixture.urls.url);
    const database = connectDatabase({ url: proxy.url, applicationName: 'condense' });
    onTestFinished(() => database.close());
    return { proxy, database };
  }

  // The archive row; the row of the stream, when everything is written but not committed.
  it.each(['INSERT', 'UPDATE'])(
    'after its %s leaves all as it was, and is done when asked again',
    async (tag) => {
      await fixture.fill('a', 20);
      const { proxy, database } = await throughProxy();
      const cut = proxy.cutAfter(tag);
      await expect(condense('a', undefined, { database })).rejects.toSatisfy(isTransientDbError);
      await cut;
      expect(await fixture.rows('a')).toHaveLength(20);
      expect(await archives()).toHaveLength(0);
      await condense('a');
      expect((await load('a')).state.balance).toBe(19);
    },
  );

  it('after its commit has condensed, and says so when asked again', async () => {
    await fixture.fill('a', 20);
    const { proxy, database } = await throughProxy();
    const { store } = archiveElsewhere(async () => void proxy.cutAfter('COMMIT'));
    await expect(condense('a', undefined, { database, archive: store })).rejects.toSatisfy(
      isTransientDbError,
    );
    await eventually(async () => expect(await fixture.rows('a')).toHaveLength(1));
    await expect(condense('a')).rejects.toMatchObject({ code: 'nothing_to_condense' });
  });

  it('between the archive and the commit loses no event, wherever the archive is; asked again it is the same archive', async () => {
    await fixture.fill('a', 20);
    const { store, kept } = archiveElsewhere(async () => {
      if (kept.size === 1 && (await archives()).length === 0 && !died) {
        died = true;
        throw new Error('died');
      }
    });
    let died = false;
    await expect(condense('a', undefined, { archive: store })).rejects.toThrow();
    expect(kept.size).toBe(1);
    expect(await fixture.rows('a')).toHaveLength(20);
    await condense('a', undefined, { archive: store });
    expect(kept.size).toBe(1);
    expect((await load('a')).state.balance).toBe(19);
  });
});

describe('a condensed event of two versions ago', () => {
  it('is brought to today by the upcasters of the state, as there is nothing else to make it from', async () => {
    await fixture.fill('a', 10);
    await condense('a');
    await fixture.run('a', { type: 'Deposit', pence: 5 });
    const aggregate: AnyAggregate = {
      ...account,
      state: {
        version: 3,
        upcast: {
          1: ({ balance, ...rest }) => ({ ...rest, money: { pence: balance } }),
          2: (state) => ({ ...state, currency: 'GBP' }),
        },
      },
      evolve: (state, event) =>
        event.type === 'Deposited' ? { ...state, money: { pence: state.money.pence + event.pence } } : state,
    };
    const { db } = fixture.database;
    expect((await loadStream(db, aggregate, 'a')).state).toMatchObject({
      money: { pence: 14 },
      currency: 'GBP',
    });
    await expect(
      loadStream(db, { ...aggregate, state: { version: 3, upcast: { 1: (state) => state } } }, 'a'),
    ).rejects.toMatchObject({ code: 'unknown_shape' });
    // And condensed once more it is of today.
    await condense('a', undefined, { aggregate });
    expect(await fixture.admin`SELECT schema_version FROM events`).toEqual([{ schema_version: 3 }]);
    await expect(load('a')).rejects.toMatchObject({ code: 'unknown_shape' });
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}
