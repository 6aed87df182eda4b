import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { appendEvents } from './append.ts';
import { ConcurrencyError } from './errors.ts';
import { account, eventually, type Fixture, openFixture, openTransaction } from './fixture.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('event_store');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

describe('a stream', () => {
  it('says what its commands made of it', async () => {
    await fixture.run('acc_1', { type: 'Open', owner: 'Ada' });
    await fixture.run('acc_1', { type: 'Deposit', pence: 500, times: 3 });
    await fixture.run('acc_1', { type: 'Withdraw', pence: 200 });
    const { state, version } = await fixture.store.load(fixture.database.db, 'acc_1');
    expect(state).toMatchObject({ status: 'open', owner: 'Ada', balance: 1300 });
    expect(version).toBe(5);
  });

  it('that is not there has no version', async () => {
    expect(await fixture.store.load(fixture.database.db, 'acc_9')).toMatchObject({ version: 0 });
  });

  it('takes an append at its version only, and says so when it has moved on', async () => {
    await fixture.run('acc_1', { type: 'Open', owner: 'Ada' });
    const append = (expectedVersion: number) =>
      fixture.database.db.transaction((tx) =>
        appendEvents(tx, account, {
          streamId: 'acc_1',
          expectedVersion,
          events: [{ type: 'Closed' as const }],
        }),
      );
    await expect(append(0)).rejects.toThrow(ConcurrencyError);
    await expect(append(2)).rejects.toThrow(ConcurrencyError);
    expect(await append(1)).toBe(2);
  });

  it.each([
    ['commits', async () => {}, 3],
    ['gives it up', () => Promise.reject(new Error('given up')), 2],
  ])(
    'that is just being made by one who %s is waited for, and decided on anew',
    async (_how, last, pence) => {
      const end = await openTransaction(fixture.database, (tx) =>
        fixture.store.handle(tx, 'acc_1', { type: 'Deposit', pence: 1 }),
      );
      // As one that is new, and as one that was looked for and is not there.
      const isNew = [true, undefined];
      const waiting = isNew.map((is) =>
        fixture.database.db.transaction((tx) =>
          fixture.store.handle(tx, 'acc_1', { type: 'Deposit', pence: 1 }, { ...(is && { isNew: is }) }),
        ),
      );
      await eventually(async () =>
        expect(
          await fixture.admin`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        ).toHaveLength(2),
      );
      await end(last).catch(() => {});
      await Promise.all(waiting);
      const { state, version } = await fixture.store.load(fixture.database.db, 'acc_1');
      expect([state.balance, version]).toEqual([pence, pence]);
    },
  );

  it('of a hundred writers at once, each wins one version', async () => {
    await fixture.run('acc_1', { type: 'Open', owner: 'Ada' });
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => fixture.run('acc_1', { type: 'Deposit', pence: i + 1 })),
    );
    const { state, version } = await fixture.store.load(fixture.database.db, 'acc_1');
    expect({ version, balance: state.balance }).toEqual({ version: 101, balance: 5050 });
  });
});
