import type { Transaction } from '@sidecart/kit/db';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { condenseStream } from './condense.ts';
import { type AccountEvent, balances, eventually, type Fixture, openFixture, pause } from './fixture.ts';
import type { PlainEvent, Projection, RecordedEvent } from './projection.ts';
import { listSubscriptions } from './subscription.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('large_difference');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

const generation = (n: number) => eventually(async () => expect(await fixture.liveGeneration()).toBe(n));

/** What was committed at once, in the order of the commits: events of each page, one list for each transaction. */
interface Seen {
  byTransaction: Map<string, number[]>;
  pages: number;
}

/** The read model, which notes its pages; `before` is done in each. */
function watched(before: (page: number, tx: Transaction) => Promise<unknown> | undefined = () => undefined) {
  const seen: Seen = { byTransaction: new Map(), pages: 0 };
  const projection: Projection<AccountEvent> = {
    ...balances,
    async apply(tx, its, events) {
      seen.pages += 1;
      await before(seen.pages, tx);
      const [row] = (await tx.execute(sql`SELECT pg_current_xact_id()::text AS xid`)) as unknown as {
        xid: string;
      }[];
      const pages = seen.byTransaction.get(row?.xid ?? '') ?? [];
      seen.byTransaction.set(row?.xid ?? '', [...pages, events.length]);
      await balances.apply(tx, its, events);
    },
  };
  return { seen, projection };
}

/** Two pages and a part of one, in streams whose events lie between each other's. */
const EVENTS = 12_000;
async function fillMany() {
  await fixture.admin`
    INSERT INTO streams (stream_id, type, version) SELECT 's' || i, 'account', ${EVENTS / 4} FROM generate_series(0, 3) AS i`;
  await fixture.admin`
    INSERT INTO events (stream_id, version, event_id, type, schema_version, data, meta)
    SELECT 's' || n % 4, n / 4 + 1, gen_random_uuid(), 'Deposited', 1, '{"pence":1}', '{"actor":"test"}'
    FROM generate_series(0, ${EVENTS - 1}) AS n ORDER BY n`;
}
const all = [0, 1, 2, 3].map((n) => ({
  id: `s${n}`,
  pence: 3000,
  events: 3000,
  last_version: 3000,
  disorder: 0,
}));

describe('a large difference', () => {
  it('is read on while it is applied: pages share a transaction, each event once and in order', async () => {
    await fillMany();
    const { seen, projection } = watched();
    fixture.project({ projection });
    await generation(1);
    expect(await fixture.balances()).toEqual(all);
    expect(seen.pages).toBe(3);
    expect(seen.byTransaction.size).toBeLessThan(3);
    expect(await listSubscriptions(fixture.database)).toMatchObject([{ built: EVENTS, behind: 0 }]);
  });

  it('that is slow to apply ends its transactions early, so that nobody waits for long', async () => {
    await fillMany();
    const { seen, projection } = watched(() => pause(600));
    fixture.project({ projection });
    await generation(1);
    expect(await fixture.balances()).toEqual(all);
    // The second was asked for at once, before it was known that the first is slow.
    expect([...seen.byTransaction.values()]).toEqual([[5000, 5000], [2000]]);
  });

  it('that fails in a later page is undone as a whole, and done again', async () => {
    await fillMany();
    const { seen, projection } = watched(async (page) => {
      if (page === 2) throw new Error('a fault');
    });
    const projector = fixture.project({ projection });
    await eventually(() => expect(projector.health.details()).toMatchObject({ status: 'degraded' }));
    expect(await fixture.balances(1)).toEqual([]);
    await generation(1);
    expect(await fixture.balances()).toEqual(all);
    expect(seen.pages).toBe(5);
  });

  it('whose connection is lost while it reads on is undone as a whole, and done again', async () => {
    await fillMany();
    const { seen, projection } = watched(async (page, tx) => {
      if (page !== 2) return;
      const [row] = (await tx.execute(sql`SELECT pg_backend_pid() AS pid`)) as unknown as { pid: number }[];
      await fixture.admin`SELECT pg_terminate_backend(${row?.pid ?? 0})`;
      await pause(100);
    });
    fixture.project({ projection });
    await generation(1);
    expect(await fixture.balances()).toEqual(all);
    expect(seen.pages).toBe(5);
  });
});

describe('a read model that needs no meta', () => {
  /** Keys of the events that it was given, and how many there were. */
  function keysOf() {
    const keys = new Set<string>();
    let events = 0;
    const note = (given: readonly object[]) => {
      events += given.length;
      for (const one of given) for (const key of Object.keys(one)) keys.add(key);
    };
    return { note, keys: () => [...keys].sort(), events: () => events };
  }
  /** Few events, many, and archived ones: each way on which events come. */
  async function everyWay(projection: Projection<AccountEvent>) {
    await fillMany();
    await fixture.fill('a', 30);
    const projector = fixture.project({ projection });
    await generation(1);
    await eventually(
      async () => void (await condenseStream(fixture.deps, 'a', { by: 'test', reason: 'to see' })),
    );
    await fixture.run('a', { type: 'Deposit', pence: 1, times: 3 });
    await eventually(async () =>
      expect((await fixture.balances())[0]).toMatchObject({ id: 'a', events: 33 }),
    );
    await projector.rebuild('balances');
    await generation(2);
    return fixture.balances();
  }

  it('gets all else, on every way, and makes the same rows', async () => {
    const { note, keys, events } = keysOf();
    const plain: Projection<AccountEvent> = {
      name: balances.name,
      codeVersion: balances.codeVersion,
      discard: balances.discard,
      needsMeta: false,
      async apply(tx, its, given: readonly PlainEvent<AccountEvent>[]) {
        note(given);
        await balances.apply(tx, its, given as RecordedEvent<AccountEvent>[]);
      },
    };
    expect(await everyWay(plain)).toEqual([
      { id: 'a', pence: 32, events: 33, last_version: 33, disorder: 0 },
      ...all,
    ]);
    expect(keys()).toEqual(['at', 'event', 'streamId', 'version']);
    expect(events()).toBe(2 * (EVENTS + 33));
  });

  it('control: one that says nothing gets it, on every way', async () => {
    let without = 0;
    const { note, keys } = keysOf();
    await everyWay({
      ...balances,
      async apply(tx, its, given: readonly RecordedEvent<AccountEvent>[]) {
        note(given);
        without += given.filter(({ meta }) => typeof meta?.actor !== 'string').length;
        await balances.apply(tx, its, given);
      },
    });
    expect(keys()).toEqual(['at', 'event', 'meta', 'streamId', 'version']);
    expect(without).toBe(0);
  });

  it('cannot look at it, by its type', () => {
    const peeking: Projection<AccountEvent> = {
      name: 'peeking',
      codeVersion: 1,
      needsMeta: false,
      // @ts-expect-error it has asked for events without it
      apply: async (_tx, _generation, events) => void events[0]?.meta,
      discard: async () => 0,
    };
    expect(peeking.needsMeta).toBe(false);
  });
});
