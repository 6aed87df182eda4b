import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AnyAggregate } from './aggregate.ts';
import { createEventStore } from './event-store.ts';
import {
  type AccountState,
  account,
  eventually,
  type Fixture,
  openFixture,
  openTransaction,
  pause,
  silent,
} from './fixture.ts';
import { checksumOf, loadStream } from './load.ts';
import { createSnapshots, writeSnapshot } from './snapshots.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('snapshots', { snapshotEvery: 10 });
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

const load = (aggregate: AnyAggregate = account) =>
  loadStream<AccountState>(fixture.database.db, aggregate, 'a');
const take = (aggregate: AnyAggregate = account) =>
  writeSnapshot({ database: fixture.database, aggregate, every: 1 }, 'a');
const snapshots = () =>
  fixture.admin`SELECT schema_version AS schema, version::int, state->>'balance' AS balance FROM snapshots ORDER BY 1, 2`;

/** Of the one snapshot there is, once it has that version or a later one; with each further look one more event is written. */
async function versionOf(append: () => Promise<unknown>, atLeast: number): Promise<number> {
  await pause(200);
  for (let looks = 0; ; looks += 1) {
    const [found] = await snapshots();
    if (found?.version >= atLeast || looks === 20) {
      expect(found?.version).toBeGreaterThanOrEqual(atLeast);
      return found?.version;
    }
    await append();
    await pause(200);
  }
}

describe('a snapshot', () => {
  it('spares the events before it', async () => {
    await fixture.fill('a', 30);
    const replayed = await load();
    await take();
    await fixture.run('a', { type: 'Deposit', pence: 100 });
    const { state, version, snapshotVersion } = await load();
    expect({ version, snapshotVersion, balance: state.balance }).toEqual({
      version: 31,
      snapshotVersion: 30,
      balance: replayed.state.balance + 100,
    });
    // It is what is read: the events before it could be gone.
    await fixture.admin`DELETE FROM events WHERE version <= 30`;
    expect((await load()).version).toBe(31);
  });

  it('of another version of the state is not read, and each version of the code has its own', async () => {
    await fixture.fill('a', 30);
    await take();
    const newer: AnyAggregate = { ...account, state: { version: 2, upcast: { 1: (state) => state } } };
    const replayed = await load(newer);
    expect(replayed).toMatchObject({ snapshotVersion: 0, version: 30 });
    await take(newer);
    expect(await load(newer)).toMatchObject({ snapshotVersion: 30, state: replayed.state });
    // After a roll back the older code reads its own again.
    expect(await load()).toMatchObject({ snapshotVersion: 30 });
    expect(await snapshots()).toHaveLength(2);
  });

  it('that is damaged is left aside, and replaced by the next', async () => {
    await fixture.fill('a', 30);
    const replayed = await load();
    await take();
    await fixture.admin`UPDATE snapshots SET state = '{"balance": 1000000}'`;
    expect(await load()).toEqual({ ...replayed, snapshotDamaged: true });
    expect(await take()).toBe(true);
    expect(await load()).toMatchObject({
      state: replayed.state,
      snapshotVersion: 30,
      snapshotDamaged: false,
    });
  });

  it('that is ahead of its stream is of another history: left aside, and replaced', async () => {
    await fixture.fill('a', 30);
    await take();
    // As when only a part of the database came back from a backup.
    await fixture.admin`DELETE FROM events WHERE version > 20`;
    await fixture.admin`UPDATE streams SET version = 20`;
    expect(await load()).toMatchObject({ version: 20, snapshotVersion: 0, state: { balance: 19 } });
    expect(await take()).toBe(true);
    expect(await load()).toMatchObject({ version: 20, snapshotVersion: 20, state: { balance: 19 } });
  });

  it('control: read without a look at version and checksum, each of these gives another state', async () => {
    await fixture.fill('a', 30);
    const { state } = await load();
    const wrong = JSON.stringify({ ...state, balance: 7 });
    await fixture.admin`INSERT INTO snapshots (stream_id, schema_version, version, state, checksum)
      VALUES ('a', 1, 30, ${wrong}::text::json, ${checksumOf(wrong)})`;
    expect((await load()).state.balance).toBe(7);
  });

  it('is not written over a newer one by who is late', async () => {
    await fixture.fill('a', 30);
    const late = createLate();
    const writing = writeSnapshot({ database: late.database, aggregate: account, every: 1 }, 'a');
    await late.loaded;
    await fixture.run('a', { type: 'Deposit', pence: 1, times: 10 });
    await take();
    late.go();
    expect(await writing).toBe(false);
    expect([...(await snapshots())]).toEqual([{ schema: 1, version: 40, balance: '39' }]);
  });

  it('of a state that JSON cannot say is not written', async () => {
    await fixture.fill('a', 3);
    const aggregate: AnyAggregate = { ...account, initialState: () => new Map(), evolve: (state) => state };
    await expect(take(aggregate)).rejects.toThrow('more than JSON can say');
    expect(await snapshots()).toHaveLength(0);
  });
});

/** A database that waits after its first statement. */
function createLate() {
  const loaded = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const db = new Proxy(fixture.database.db, {
    get(target, name) {
      if (name !== '_') return Reflect.get(target, name);
      const { session } = target._;
      const prepareQuery = (...args: unknown[]) => {
        const query = (session.prepareQuery as (...a: unknown[]) => { execute(): Promise<unknown> })(...args);
        return {
          async execute() {
            if (!String(args[2]).startsWith('load')) return query.execute();
            const rows = await query.execute();
            loaded.resolve();
            await go.promise;
            return rows;
          },
        };
      };
      return { ...target._, session: { prepareQuery } };
    },
  });
  return { database: { ...fixture.database, db }, loaded: loaded.promise, go: () => go.resolve() };
}

describe('the worker', () => {
  it('writes one beside the requests, after every so many events, and another after as many more', async () => {
    const store = createEventStore({
      database: fixture.database,
      aggregate: account,
      log: silent,
      snapshotEvery: 10,
    });
    const run = (times: number) =>
      fixture.database.db.transaction((tx) => store.handle(tx, 'a', { type: 'Deposit', pence: 1, times }));
    store.worker.start();
    await run(9);
    await pause(150);
    expect(await snapshots()).toHaveLength(0);
    await run(1);
    // Where the offer came before its commit, by the next event.
    const first = await versionOf(() => run(1), 10);
    await run(21 - first);
    expect(await versionOf(() => run(1), first + 10)).toBeGreaterThanOrEqual(21);
    await store.worker.stop();
  });

  it('does nothing in the transaction that appends: it sees what has been committed', async () => {
    const store = createEventStore({
      database: fixture.database,
      aggregate: account,
      log: silent,
      snapshotEvery: 10,
    });
    store.worker.start();
    const end = await openTransaction(fixture.database, (tx) =>
      store.handle(tx, 'a', { type: 'Deposit', pence: 1, times: 20 }),
    );
    await pause(200);
    expect(await snapshots()).toHaveLength(0);
    await end();
    // Not by the offer that came too early, but by the next.
    await fixture.database.db.transaction((tx) => store.handle(tx, 'a', { type: 'Deposit', pence: 1 }));
    await eventually(async () => expect(await snapshots()).toMatchObject([{ version: 21 }]));
    await store.worker.stop();
  });

  it('replaces a damaged one by itself', async () => {
    const store = createEventStore({
      database: fixture.database,
      aggregate: account,
      log: silent,
      snapshotEvery: 10,
    });
    store.worker.start();
    await fixture.fill('a', 12);
    await take();
    await fixture.admin`UPDATE snapshots SET state = '{}'`;
    await fixture.database.db.transaction((tx) => store.handle(tx, 'a', { type: 'Deposit', pence: 1 }));
    await eventually(async () =>
      expect(await load()).toMatchObject({ snapshotVersion: 13, snapshotDamaged: false }),
    );
    await store.worker.stop();
  });

  it('goes on after one that could not be written, and ends when it is told to', async () => {
    const broken: AnyAggregate = {
      ...account,
      evolve: (state, event) => ({ ...account.evolve(state, event), when: new Date() }),
    };
    const worker = createSnapshots({ database: fixture.database, aggregate: broken, every: 1, log: silent });
    worker.start();
    await fixture.fill('a', 3);
    worker.offer('a');
    worker.offer('nothing');
    await pause(200);
    expect(await snapshots()).toHaveLength(0);
    worker.offer('a');
    await worker.stop();
    worker.offer('a');
  });
});
