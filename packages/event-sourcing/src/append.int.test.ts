import { connectDatabase, isTransientDbError } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { cutProxy } from '../../../tests/cut-proxy.ts';
import { appendAlone, appendEvents } from './append.ts';
import { condenseStream } from './condense.ts';
import { ConcurrencyError, EmptyAppendError } from './errors.ts';
import { createEventStore } from './event-store.ts';
import { account, eventually, type Fixture, openFixture, openTransaction, pause, silent } from './fixture.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('append');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

const deposited = (pence: number) => ({ type: 'Deposited' as const, pence });
const append = (
  streamId: string,
  expectedVersion: number,
  events: { type: 'Deposited'; pence: number }[],
  eventIds?: string[],
  database = fixture.database,
) =>
  database.db.transaction((tx) =>
    appendEvents(tx, account, { streamId, expectedVersion, events, ...(eventIds && { eventIds }) }),
  );

describe('an append', () => {
  it('refuses nothing, for it would take a version that no event has', async () => {
    await expect(append('a', 0, [])).rejects.toThrow(EmptyAppendError);
    expect(await fixture.admin`SELECT FROM streams`).toHaveLength(0);
  });

  it('at a version that is over is a conflict, and its transaction is still good', async () => {
    await fixture.fill('a', 2);
    const after = await fixture.database.db.transaction(async (tx) => {
      for (const expectedVersion of [0, 1, 3]) {
        const lost = appendEvents(tx, account, { streamId: 'a', expectedVersion, events: [deposited(1)] });
        await expect(lost).rejects.toThrow(ConcurrencyError);
      }
      return appendEvents(tx, account, { streamId: 'a', expectedVersion: 2, events: [deposited(1)] });
    });
    expect(after).toBe(3);
    expect(await fixture.rows('a')).toHaveLength(3);
  });

  it('gives versions and positions in the order of its events', async () => {
    await append(
      'a',
      0,
      Array.from({ length: 500 }, (_, i) => deposited(i)),
    );
    const rows = await fixture.admin`
      SELECT version::int, (data->>'pence')::int AS pence FROM events ORDER BY pos`;
    expect([...rows]).toEqual(Array.from({ length: 500 }, (_, i) => ({ version: i + 1, pence: i })));
  });

  it('that is rolled back, or whose savepoint is, leaves nothing', async () => {
    await fixture.database.db.transaction(async (tx) => {
      await appendEvents(tx, account, { streamId: 'a', expectedVersion: 0, events: [deposited(1)] });
      const undone = tx.transaction(async (inner) => {
        await appendEvents(inner, account, { streamId: 'a', expectedVersion: 1, events: [deposited(2)] });
        throw new Error('undo');
      });
      await expect(undone).rejects.toThrow('undo');
    });
    expect((await fixture.store.load(fixture.database.db, 'a')).state.balance).toBe(1);
    const undone = fixture.database.db.transaction(async (tx) => {
      await appendEvents(tx, account, { streamId: 'a', expectedVersion: 1, events: [deposited(2)] });
      throw new Error('undo');
    });
    await expect(undone).rejects.toThrow('undo');
    expect(await fixture.store.load(fixture.database.db, 'a')).toMatchObject({ version: 1 });
  });

  it('of an event without a shape, or with too few ids, is refused', async () => {
    const unknown = { type: 'Frozen' } as unknown as { type: 'Deposited'; pence: number };
    await expect(append('a', 0, [unknown])).rejects.toThrow('has no shape');
    await expect(append('a', 0, [deposited(1)], [])).rejects.toThrow('0 ids for 1 events');
  });
});

describe('an append by itself', () => {
  const alone = (
    expectedVersion: number,
    events: { type: 'Deposited'; pence: number }[],
    eventIds?: string[],
  ) =>
    appendAlone({ database: fixture.database }, account, {
      streamId: 'a',
      expectedVersion,
      events,
      ...(eventIds && { eventIds }),
    });

  it('is all of its events, exactly after the version it was given', async () => {
    expect(await alone(0, [deposited(1)])).toBe(1);
    expect(await alone(1, [deposited(2), deposited(3)])).toBe(3);
    const rows = await fixture.admin`
      SELECT version::int, (data->>'pence')::int AS pence FROM events ORDER BY pos`;
    expect([...rows]).toEqual([1, 2, 3].map((n) => ({ version: n, pence: n })));
  });

  it('at a version that is over, or yet to come, is a conflict and leaves nothing', async () => {
    await fixture.fill('a', 2);
    for (const expectedVersion of [0, 1, 3])
      await expect(alone(expectedVersion, [deposited(1)])).rejects.toThrow(ConcurrencyError);
    expect(await fixture.rows('a')).toHaveLength(2);
    expect(await fixture.store.load(fixture.database.db, 'a')).toMatchObject({ version: 2 });
  });

  it('refuses nothing', async () => {
    await expect(alone(0, [])).rejects.toThrow(EmptyAppendError);
    expect(await fixture.admin`SELECT FROM streams`).toHaveLength(0);
  });

  it('that the server refuses half way leaves nothing of any event', async () => {
    const twice = uuidv7();
    await fixture.admin`CREATE UNIQUE INDEX once ON events (event_id)`;
    onTestFinished(async () => void (await fixture.admin`DROP INDEX once`));
    await expect(alone(0, [deposited(1), deposited(2)], [twice, twice])).rejects.toThrow();
    expect(await fixture.admin`SELECT FROM events`).toHaveLength(0);
    expect(await fixture.admin`SELECT FROM streams`).toHaveLength(0);
  });

  it('whose answer was lost is known by the ids of its events', async () => {
    const ids = [uuidv7()];
    await alone(0, [deposited(1)], ids);
    expect(await alone(0, [deposited(1)], ids)).toBe(1);
    expect(await fixture.rows('a')).toHaveLength(1);
    await expect(alone(0, [deposited(1)])).rejects.toThrow(ConcurrencyError);
  });

  it('of fifty writers at once: each wins one version', async () => {
    const write = async () => {
      for (;;) {
        const { version } = await fixture.store.load(fixture.database.db, 'a');
        const lost = await alone(version, [deposited(1)]).catch((err: unknown) => err);
        if (!(lost instanceof ConcurrencyError)) return lost;
      }
    };
    const versions = await Promise.all(Array.from({ length: 50 }, write));
    expect(versions.sort((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
    const { state } = await fixture.store.load(fixture.database.db, 'a');
    expect(state.balance).toBe(50);
  });

  // A poll that never comes: what wakes the projector is the append, or nothing does.
  const sleeper = async () => {
    const projector = fixture.project({ pollMs: 600_000 });
    const store = createEventStore({
      database: fixture.database,
      aggregate: account,
      log: silent,
      onAppend: projector.appended,
    });
    await fixture.run('first', { type: 'Open', owner: 'Ada' });
    await eventually(async () => expect(await fixture.liveGeneration()).toBe(1));
    await pause(200); // the look after the switch
    const ids = async () => (await fixture.balances()).map(({ id }) => id);
    return { store, ids };
  };

  it('wakes the projector at once', async () => {
    const { store, ids } = await sleeper();
    await store.appendAlone({ streamId: 'a', expectedVersion: 0, events: [deposited(1)] });
    await eventually(async () => expect(await ids()).toContain('a'), 5000);
  });

  it('wakes it as the events of a command do', async () => {
    const { store, ids } = await sleeper();
    await fixture.database.db.transaction((tx) => store.handle(tx, 'a', { type: 'Open', owner: 'Ada' }));
    await eventually(async () => expect(await ids()).toContain('a'), 5000);
  });

  it('control: of one that tells nobody the projector sleeps on', async () => {
    const { ids } = await sleeper();
    await alone(0, [deposited(1)]);
    await pause(500);
    expect(await ids()).not.toContain('a');
  });

  it('is offered a snapshot when its stream has become long', async () => {
    const store = createEventStore({
      database: fixture.database,
      aggregate: account,
      log: silent,
      snapshotEvery: 5,
    });
    await store.worker.start();
    onTestFinished(() => store.worker.stop());
    const events = Array.from({ length: 4 }, () => deposited(1));
    await store.appendAlone({ streamId: 'a', expectedVersion: 0, events });
    await pause(200);
    expect(await fixture.admin`SELECT FROM snapshots`).toHaveLength(0);
    await store.appendAlone({ streamId: 'a', expectedVersion: 4, events: [deposited(1)] });
    await eventually(async () => expect(await fixture.admin`SELECT FROM snapshots`).toHaveLength(1));
  });
});

describe('two that make the same stream', () => {
  it('make it once: the second decides on what the first has made', async () => {
    await Promise.all([1, 2, 3].map(() => fixture.run('a', { type: 'Open', owner: 'Ada' })));
    expect(await fixture.rows('a')).toEqual([{ version: 1, type: 'Opened' }]);
  });

  it('while the first has not committed: the second waits, and takes over when it never does', async () => {
    const end = await openTransaction(fixture.database, (tx) =>
      fixture.store.handle(tx, 'a', { type: 'Open', owner: 'Ada' }),
    );
    const second = fixture.database.db.transaction((tx) =>
      fixture.store.handle(tx, 'a', { type: 'Open', owner: 'Bob' }, { isNew: true }),
    );
    await expect(end(() => Promise.reject(new Error('undo')))).rejects.toThrow('undo');
    expect((await second).state.owner).toBe('Bob');
  });
});

describe('a commit that was done and not answered', () => {
  async function lost(eventIds: string[]) {
    await fixture.fill('a', 1);
    const proxy = await cutProxy(fixture.urls.url);
    const database = connectDatabase({ url: proxy.url, applicationName: 'append' });
    onTestFinished(() => database.close());
    const cut = proxy.cutAfter('COMMIT');
    const first = append('a', 1, [deposited(5), deposited(6)], eventIds, database);
    await expect(first).rejects.toSatisfy(isTransientDbError);
    await cut;
    expect(await fixture.rows('a')).toHaveLength(3);
  }

  it('is known by the ids of its events when it is given again: nothing is there twice', async () => {
    const ids = [uuidv7(), uuidv7()];
    await lost(ids);
    expect(await append('a', 1, [deposited(5), deposited(6)], ids)).toBe(3);
    expect(await fixture.rows('a')).toHaveLength(3);
  });

  it('is known also when others have appended since', async () => {
    const ids = [uuidv7(), uuidv7()];
    await lost(ids);
    await fixture.run('a', { type: 'Deposit', pence: 1 });
    expect(await append('a', 1, [deposited(5), deposited(6)], ids)).toBe(3);
    expect(await fixture.rows('a')).toHaveLength(4);
  });

  it('is a conflict, not a second effect, once its events were condensed', async () => {
    const ids = [uuidv7(), uuidv7()];
    await lost(ids);
    await condenseStream(fixture.deps, 'a', { by: 'test', reason: 'to see' });
    await expect(append('a', 1, [deposited(5), deposited(6)], ids)).rejects.toThrow(ConcurrencyError);
  });

  it('control: with other ids it is a conflict, and decided anew it happens twice', async () => {
    await lost([uuidv7(), uuidv7()]);
    await expect(append('a', 1, [deposited(5), deposited(6)])).rejects.toThrow(ConcurrencyError);
    await append('a', 3, [deposited(5), deposited(6)]);
    expect(await fixture.rows('a')).toHaveLength(5);
  });
});
