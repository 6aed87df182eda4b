import { runInContext } from '@sidecart/kit/context';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ArchiveStore } from './archive.ts';
import { condenseStream } from './condense.ts';
import { type AccountEvent, type AccountState, type Fixture, openFixture, pause } from './fixture.ts';
import { readHistory, stateAt } from './history.ts';
import { restoreStream } from './restore.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('history');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

const decision = { by: 'ana', reason: 'it is old' };
const history = () => readHistory<AccountEvent>(fixture.deps, 'a');
const at = (date: Date) => stateAt<AccountState>(fixture.deps, 'a', date);

/** An account with four events, each at a moment of its own. */
async function lived() {
  await fixture.run('a', { type: 'Open', owner: 'Ada' });
  for (const pence of [1, 10, 100]) {
    await pause(5);
    await fixture.run('a', { type: 'Deposit', pence });
  }
}

describe('a history', () => {
  it('tells who, what, when, by which command, request and trace', async () => {
    const context = {
      actor: 'customer:7',
      customerId: '7',
      requestId: 'r1',
      correlationId: 'c1',
      causationId: 'm1',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    };
    await runInContext(context, () => fixture.run('a', { type: 'Open', owner: 'Ada' }));
    expect(await history()).toEqual([
      {
        streamId: 'a',
        version: 1,
        at: expect.any(Date),
        meta: { ...context, command: 'Open' },
        event: { type: 'Opened', owner: 'Ada' },
      },
    ]);
  });

  it('is the same before and after the stream is condensed, twice, and restored', async () => {
    await lived();
    const before = await history();
    await condenseStream(fixture.deps, 'a', decision, 2);
    expect(await history()).toEqual(before);
    await condenseStream(fixture.deps, 'a', decision, 3);
    expect(await history()).toEqual(before);
    await restoreStream(fixture.deps, 'a', decision);
    expect(await history()).toEqual(before);
  });

  it('says so when the archive is away', async () => {
    await lived();
    const archive: ArchiveStore = { put: async (name) => name, get: () => Promise.reject(new Error('away')) };
    await condenseStream({ ...fixture.deps, archive }, 'a', decision, 3);
    await expect(readHistory({ ...fixture.deps, archive }, 'a')).rejects.toMatchObject({
      code: 'archive_unavailable',
    });
    // What happened after it can still be told.
    expect(await stateAt({ ...fixture.deps, archive }, 'a', new Date())).toMatchObject({ version: 4 });
  });

  it('is of one moment: while the stream is condensed and restored no event is missing, and none is there twice', async () => {
    await lived();
    let over = false;
    await Promise.all([
      (async () => {
        for (let i = 0; i < 20; i++) {
          await condenseStream(fixture.deps, 'a', decision);
          await restoreStream(fixture.deps, 'a', decision);
        }
        over = true;
      })(),
      (async () => {
        while (!over) expect((await history()).map(({ version }) => version)).toEqual([1, 2, 3, 4]);
      })(),
    ]);
  });
});

describe('the state at a moment', () => {
  it('is that after the last event until then, to the millisecond that its history tells', async () => {
    await lived();
    const moments = (await history()).map((event) => event.at);
    const balances = async () =>
      Promise.all(moments.map(async (moment) => (await at(moment))?.state.balance));
    expect(await balances()).toEqual([0, 1, 11, 111]);
    expect(await at(new Date((moments[0]?.getTime() ?? 0) - 1))).toBeUndefined();
    expect(await at(new Date('2200-01-01'))).toMatchObject({ version: 4 });
    await condenseStream(fixture.deps, 'a', decision, 3);
    expect(await balances()).toEqual([0, 1, 11, 111]);
    await fixture.admin`UPDATE events_archive SET content = NULL, location = 'x'`;
    expect((await at(moments[2] as Date))?.state.balance).toBe(11);
    await expect(at(moments[1] as Date)).rejects.toMatchObject({ code: 'archive_unavailable' });
  });

  it('of what is not there is none', async () => {
    expect(await at(new Date())).toBeUndefined();
  });
});
