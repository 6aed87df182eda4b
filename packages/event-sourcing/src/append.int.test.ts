import { connectDatabase, isTransientDbError } from '@sidecart/kit/db';
import { uuidv7 } from '@sidecart/kit/ids';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { cutProxy } from '../../../tests/cut-proxy.ts';
import { appendEvents } from './append.ts';
import { condenseStream } from './condense.ts';
import { ConcurrencyError, EmptyAppendError } from './errors.ts';
import { account, type Fixture, openFixture, openTransaction } from './fixture.ts';

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
