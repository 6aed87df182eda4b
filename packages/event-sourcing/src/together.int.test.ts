import { runPrepared } from '@sidecart/messaging/prepared';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { CONDENSED } from './aggregate.ts';
import { condenseStream } from './condense.ts';
import {
  archiveElsewhere,
  eventually,
  type Fixture,
  openFixture,
  openTransaction,
  pause,
} from './fixture.ts';
import { readHistory } from './history.ts';
import {
  type Between,
  byIndex,
  eventsBetween,
  eventsSince,
  positionBefore,
  SINCE,
  type Since,
} from './reader.ts';
import { restoreStream } from './restore.ts';
import { writeSnapshot } from './snapshots.ts';
import { beginBuilding } from './subscription.ts';

// What happens to the same events at the same time.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('together');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

const decision = { by: 'test', reason: 'to see' };
const read = (...rows: [id: string, events: number][]) =>
  eventually(
    async () =>
      expect(await fixture.balances()).toMatchObject(
        rows.map(([id, events]) => ({ id, events, disorder: 0 })),
      ),
    20_000,
  );

/** Work that waits for the row of the stream, which somebody else has, with all else that it does done. */
async function held(work: () => Promise<unknown>) {
  const end = await openTransaction(fixture.database, (tx) =>
    fixture.store.handle(tx, 'a', { type: 'Deposit', pence: 1 }),
  );
  const working = work();
  await eventually(async () => {
    const waiting = await fixture.admin`SELECT FROM pg_stat_activity WHERE datname = current_database()
      AND wait_event_type = 'Lock' AND query LIKE '%UPDATE streams%'`;
    expect(waiting.length).toBeGreaterThan(0);
  });
  return { end, working };
}

describe('a build that begins while a stream', () => {
  it('is being condensed waits for that, and finds its events in the archive', async () => {
    const projector = fixture.project();
    await fixture.fill('a', 20);
    await read(['a', 20]);
    const { end, working } = await held(() => condenseStream(fixture.deps, 'a', decision, 20));
    let begun = false;
    const rebuild = projector.rebuild('balances').then(() => {
      begun = true;
    });
    await pause(200);
    expect(begun).toBe(false);
    await end();
    await working;
    await rebuild;
    await eventually(async () => expect(await fixture.liveGeneration()).toBe(2));
    await read(['a', 21]);
  });

  it('is being restored waits for that, and finds its events in their place', async () => {
    const projector = fixture.project();
    await fixture.fill('a', 20);
    await read(['a', 20]);
    await condenseStream(fixture.deps, 'a', decision);
    const { end, working } = await held(() => restoreStream(fixture.deps, 'a', decision));
    const rebuild = projector.rebuild('balances');
    await pause(200);
    await end();
    await working;
    await rebuild;
    await eventually(async () => expect(await fixture.liveGeneration()).toBe(2));
    await read(['a', 21]);
  });

  it('control: without that wait it finds them neither here nor there', async () => {
    await fixture.fill('a', 20);
    const { end, working } = await held(() => condenseStream(fixture.deps, 'a', decision, 20));
    // The archives first, which show nothing yet; then the events, which are no more.
    const archived = await fixture.admin`SELECT FROM events_archive`;
    await end();
    await working;
    const here = await fixture.admin`SELECT FROM events WHERE type <> ${CONDENSED}`;
    expect(archived.length + here.length).toBe(1);
  });
});

describe('a build of archives', () => {
  it('that are elsewhere, and large, makes the same rows', async () => {
    const { store } = archiveElsewhere();
    const projector = fixture.project({ archive: store });
    const deps = { ...fixture.deps, archive: store };
    for (let i = 0; i < 6; i++) await fixture.run('a', { type: 'Deposit', pence: 1, times: 1000 });
    await fixture.fill('b', 10);
    await read(['a', 6000], ['b', 10]);
    await condenseStream(deps, 'a', decision, 5500);
    await condenseStream(deps, 'b', decision);
    await projector.rebuild('balances');
    await eventually(async () => expect(await fixture.liveGeneration()).toBe(2));
    await read(['a', 6000], ['b', 10]);
  });

  it('waits for an archive that is away, with the old rows read meanwhile, and goes on when it is back', async () => {
    const { store, kept } = archiveElsewhere();
    const projector = fixture.project({ archive: store });
    await fixture.fill('a', 10);
    await read(['a', 10]);
    await condenseStream({ ...fixture.deps, archive: store }, 'a', decision);
    const [name, content] = [...kept][0] as [string, Buffer];
    kept.clear();
    await projector.rebuild('balances');
    await eventually(() =>
      expect(projector.health.details().components.projections).toMatchObject({
        status: 'degraded',
        reason: expect.stringContaining('away'),
      }),
    );
    await fixture.run('a', { type: 'Deposit', pence: 1 });
    await read(['a', 11]);
    expect(await fixture.liveGeneration()).toBe(1);
    kept.set(name, content);
    await eventually(async () => expect(await fixture.liveGeneration()).toBe(2));
    await read(['a', 11]);
  });
});

describe('a reader of events', () => {
  it('finds the few that are new among many by their transactions, not by walking through all', async () => {
    await beginBuilding(fixture.database, 'balances', 1, { asked: true });
    await fixture.admin`INSERT INTO events (stream_id, version, event_id, type, schema_version, data, meta, xid)
      SELECT 's' || i, 1, gen_random_uuid(), 'Opened', 1, '{}', '{}', (i / 10 + 4)::text::xid8 FROM generate_series(1, 50000) AS i`;
    await fixture.admin`ANALYZE events`;
    for (const mode of ['force_custom_plan', 'force_generic_plan'])
      for (const numbers of ['as they were', 'all alike, as adopted']) {
        if (numbers !== 'as they were') await fixture.admin`UPDATE events SET xid = '3'`;
        await fixture.admin`ANALYZE events`;
        const plan = await fixture.database.db.transaction(async (tx) => {
          await tx.execute(`SET LOCAL plan_cache_mode = ${mode}`);
          await tx.execute(`PREPARE since (text, int) AS ${SINCE}`);
          const explain = `EXPLAIN EXECUTE since('5003:5003:', 501)`;
          const rows = await byIndex(tx, () =>
            runPrepared<{ 'QUERY PLAN': string }>(tx, 'explain_since', explain, []),
          );
          await tx.execute('DEALLOCATE since');
          return rows.map((row) => row['QUERY PLAN']).join('\n');
        });
        expect([mode, numbers, plan]).toEqual([
          mode,
          numbers,
          expect.stringMatching(/Index Scan using events_xid/),
        ]);
        expect(plan).not.toMatch(/events_pos|Seq Scan on events|Bitmap/);
      }
  });
});

describe('what a transaction appends after it has read', () => {
  it('is none of its own, and is there for the next, though its number is below the end of its snapshot', async () => {
    let now = '1:1:';
    const ids = ({ rows }: Since) => rows?.map((row) => row.stream_id);
    await fixture.database.db.transaction(async (tx) => {
      await fixture.store.handle(tx, 'own', { type: 'Deposit', pence: 1 });
      await fixture.run('other', { type: 'Deposit', pence: 1 });
      const first = await eventsSince(tx, now, 10);
      expect(ids(first)).toEqual(['other']);
      await fixture.store.handle(tx, 'own', { type: 'Deposit', pence: 1 });
      await fixture.run('third', { type: 'Deposit', pence: 1 });
      const second = await eventsSince(tx, first.now, 10);
      expect(ids(second)).toEqual(['third']);
      now = second.now;
      await fixture.store.handle(tx, 'own', { type: 'Deposit', pence: 1 });
    });
    await fixture.database.db.transaction(async (tx) => {
      expect(ids(await eventsSince(tx, now, 10))).toEqual(['own', 'own', 'own']);
    });
  });
});

describe('a large difference', () => {
  it('is begun at its first event, and of very much at the beginning', async () => {
    await fixture.fill('a', 3);
    await fixture.database.db.transaction(async (tx) => {
      const { now } = await eventsSince(tx, '1:1:', 10);
      expect(await positionBefore(tx, '1:1:')).toBe(await firstPos());
      expect(await positionBefore(tx, now)).toBe('0');
    });
    await fixture.admin`INSERT INTO events (stream_id, version, event_id, type, schema_version, data, meta)
      SELECT 's' || i, 1, gen_random_uuid(), 'Opened', 1, '{}', '{}' FROM generate_series(1, 100001) AS i`;
    // The first of them by position is the last by transaction.
    await fixture.admin`UPDATE events SET xid = pg_current_xact_id() WHERE stream_id = 'a'`;
    await fixture.database.db.transaction(async (tx) => {
      expect((await eventsSince(tx, '1:1:', 10)).rows).toBeUndefined();
      expect(await positionBefore(tx, '1:1:')).toBe('0');
    });
  });

  it('is read in spans, also where nothing of it is, to its very end', async () => {
    await fixture.fill('a', 20);
    await fixture.database.db.transaction(async (tx) => {
      const { now: done } = await eventsSince(tx, '1:1:', 100);
      for (let i = 0; i < 3; i++) await fixture.fill(`b${i}`, 20);
      const { now: target } = await eventsSince(tx, done, 100);
      await fixture.fill('c', 20);
      const read: string[] = [];
      let steps = 0;
      for (let afterPos: string | undefined = '0'; afterPos !== undefined; steps++) {
        const part: Between = await eventsBetween(tx, { done, target, afterPos, limit: 7, span: 10 });
        read.push(...part.rows.map((row) => row.stream_id));
        afterPos = part.upTo;
      }
      expect(read).toEqual(['b0', 'b1', 'b2'].flatMap((id) => Array(20).fill(id)));
      expect(steps).toBeGreaterThan(8);
    });
  });
});

const firstPos = async () => (await fixture.admin`SELECT (min(pos) - 1)::text AS pos FROM events`)[0]?.pos;

describe('appends, condensings, restorings, snapshots, rebuilds and two replicas at once', () => {
  it('lose nothing, fail nobody who appends, and leave each event read once', {
    timeout: 150_000,
  }, async () => {
    const streams = ['a', 'b', 'c'];
    let working = true;
    onTestFinished(() => {
      working = false;
    });
    const appended = new Map<string, number>();
    const any = () => streams[Math.floor(Math.random() * streams.length)] as string;
    const unlessRefused = (work: Promise<unknown>) =>
      work.catch((err: { name: string }) => {
        if (err.name !== 'CondenseRefusedError') throw err;
      });
    const loop = async (work: () => Promise<unknown>) => {
      while (working) await work();
    };
    const projector = fixture.project();
    fixture.project();
    const all = Promise.all([
      ...streams.map((id) =>
        loop(async () => {
          await fixture.run(id, { type: 'Deposit', pence: 1, times: 3 });
          appended.set(id, (appended.get(id) ?? 0) + 3);
        }),
      ),
      loop(() => unlessRefused(condenseStream(fixture.deps, any(), decision))),
      loop(() => unlessRefused(restoreStream(fixture.deps, any(), decision))),
      loop(() => writeSnapshot({ ...fixture.deps, every: 1 }, any())),
      loop(async () => {
        await projector.rebuild('balances');
        // Condensing is refused while a build goes on: without a rest between two, hardly any would be done.
        await pause(800);
      }),
      loop(async () => {
        const history = await readHistory(fixture.deps, 'a');
        expect(history.map(({ version }) => version)).toEqual(history.map((_, i) => i + 1));
      }),
    ]);
    const enough = eventually(async () => {
      expect(await fixture.liveGeneration()).toBeGreaterThan(3);
      expect((await fixture.admin`SELECT FROM events_archive`).length).toBeGreaterThan(10);
    }, 120_000);
    await Promise.race([all, enough]);
    working = false;
    await all;
    for (const id of streams) {
      const { state, version } = await fixture.store.load(fixture.database.db, id);
      expect([version, state.balance]).toEqual([appended.get(id), appended.get(id)]);
      expect(await readHistory(fixture.deps, id)).toHaveLength(version);
    }
    await read(...streams.map((id): [string, number] => [id, appended.get(id) as number]));
  });
});
