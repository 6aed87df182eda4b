import { createHealth } from '@sidecart/kit/health';
import { createMetrics } from '@sidecart/kit/metrics';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { tableArchive } from './archive.ts';
import { condenseStream } from './condense.ts';
import { account, balances, type Fixture, openFixture, silent } from './fixture.ts';
import { readHistory, stateAt } from './history.ts';
import { createProjector, type Projector } from './projector.ts';
import { restoreStream } from './restore.ts';

let fixture: Fixture;
let projector: Projector;
beforeAll(async () => {
  fixture = await openFixture('projector');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

function start() {
  projector = createProjector({
    database: fixture.database,
    shapes: account.events,
    projections: [balances],
    archive: tableArchive,
    log: silent,
    metrics: createMetrics('test'),
    health: createHealth('test'),
    pollMs: 50,
  });
  projector.start();
}

const rows = (generation: number) =>
  fixture.admin`SELECT id, pence::int, events, disorder FROM balance WHERE generation = ${generation} ORDER BY id`;
const live = async () =>
  (await fixture.admin`SELECT generation FROM subscriptions WHERE state = 'live'`)[0]?.generation;

describe('a read model', () => {
  it('follows, is built anew beside the one that is read, and also from archives', async () => {
    start();
    try {
      for (const id of ['a', 'b', 'c']) await fixture.run(id, { type: 'Deposit', pence: 10, times: 40 });
      await vi.waitFor(async () => expect((await rows(1)).map((r) => r.events)).toEqual([40, 40, 40]), 5000);
      expect(await live()).toBe(1);
      const decision = { by: 'test', reason: 'to see' };
      expect(await condenseStream(fixture.deps, 'b', decision, 30)).toMatchObject({ events: 30 });
      expect((await fixture.store.load(fixture.database.db, 'b')).state.balance).toBe(400);
      expect(await readHistory(fixture.deps, 'b')).toHaveLength(40);
      await projector.rebuild('balances');
      await vi.waitFor(async () => expect(await live()).toBe(2), 5000);
      expect(await rows(2)).toEqual(
        [
          { id: 'a', pence: 400, events: 40, disorder: 1 },
          { id: 'b', pence: 400, events: 40, disorder: 1 },
          { id: 'c', pence: 400, events: 40, disorder: 1 },
        ].map((row) => ({ ...row, disorder: 0 })),
      );
      await vi.waitFor(async () => expect(await rows(1)).toEqual([]), 5000);
      expect(await restoreStream(fixture.deps, 'b', decision)).toMatchObject({
        fromVersion: 1,
        toVersion: 30,
        more: 0,
      });
      expect(await stateAt(fixture.deps, 'b', new Date())).toMatchObject({ version: 40 });
      await fixture.run('b', { type: 'Deposit', pence: 10 });
      await vi.waitFor(async () => expect((await rows(2)).map((r) => r.events)).toEqual([40, 41, 40]), 5000);
    } finally {
      await projector.stop();
    }
  });
});
