import { sql } from 'drizzle-orm';
import type postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ownPostgres } from '../../../tests/own-postgres.ts';
import { adoptDatabase } from './adopt.ts';
import { condenseStream } from './condense.ts';
import { eventually, type Fixture, openFixture, openTransaction, pause } from './fixture.ts';
import { LOCKS } from './lock-classes.ts';
import { listSubscriptions } from './subscription.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('adopt');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

const TABLES = ['streams', 'events', 'snapshots', 'subscriptions', 'events_archive', 'balance'];

/** What a dump and its restore do: every row as it is, the numbers of transactions too, and the sequences where they were. */
async function restoreInto(from: Fixture, to: Fixture): Promise<void> {
  for (const table of TABLES) {
    const rows = await from.admin`SELECT to_jsonb(t)::text AS row FROM ${from.admin(table)} t`;
    await to.admin`INSERT INTO ${to.admin(table)} OVERRIDING SYSTEM VALUE
      SELECT r.* FROM json_array_elements_text(${JSON.stringify(rows.map(({ row }) => row))}::text::json) AS l (row),
        jsonb_populate_record(NULL::${to.admin(table)}, l.row::jsonb) AS r`;
  }
  await to.admin`SELECT setval(pg_get_serial_sequence('events', 'pos'), (SELECT max(pos) FROM events)),
    setval(pg_get_serial_sequence('events_archive', 'id'), (SELECT coalesce(max(id), 1) FROM events_archive))`;
}

/** The server is far ahead of any that was made just now. */
const useNumbers = (sql: postgres.Sql, n: number) =>
  sql.unsafe(`DO $$ BEGIN FOR i IN 1..${n} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`);
const maxXid = async ({ admin }: Fixture) =>
  Number((await admin`SELECT max(xid::text::bigint) AS xid FROM events`)[0]?.xid);
const health = (projector: ReturnType<Fixture['project']>) =>
  projector.health.details().components.projections;

describe('a database that was restored from a dump into another server', () => {
  it('is noticed before an event is skipped, and adopted: then every event is read once', async (context) => {
    const server = await ownPostgres(context);
    const there = await openFixture('adopted', { serverUrl: server.url });
    try {
      await useNumbers(fixture.admin, 5000);
      const here = fixture.project();
      for (const id of ['a', 'b', 'c']) await fixture.fill(id, 20);
      const done = async () => (await fixture.balances()).map(({ events }) => events);
      await eventually(async () => expect(await done()).toEqual([20, 20, 20]));
      await condenseStream(fixture.deps, 'c', { by: 'test', reason: 'to see' });
      await here.stop();
      await fixture.run('b', { type: 'Deposit', pence: 1 });
      await restoreInto(fixture, there);

      const projector = there.project();
      await there.run('a', { type: 'Deposit', pence: 1 });
      await eventually(() =>
        expect(health(projector)).toMatchObject({
          status: 'degraded',
          reason: expect.stringContaining('adopt'),
        }),
      );
      await pause(200);
      expect((await there.balances()).map(({ events }) => events)).toEqual([20, 20, 20]);
      await expect(condenseStream(there.deps, 'a', { by: 'test', reason: 'to see' })).rejects.toMatchObject({
        code: 'foreign_position',
      });

      expect(await adoptDatabase(there.database)).toEqual({ events: 43, projections: ['balances'] });
      await there.run('b', { type: 'Deposit', pence: 1 });
      await eventually(async () =>
        expect(await there.balances()).toMatchObject([
          { id: 'a', events: 21, disorder: 0 },
          { id: 'b', events: 22, disorder: 0 },
          { id: 'c', events: 20, disorder: 0 },
        ]),
      );
      await eventually(() => expect(health(projector)).toEqual({ status: 'ok' }));
      await there.run('a', { type: 'Deposit', pence: 1 });
      await eventually(async () =>
        expect((await there.balances())[0]).toMatchObject({ events: 22, disorder: 0 }),
      );
      expect(await there.liveGeneration()).toBe(2);
      await condenseStream(there.deps, 'a', { by: 'test', reason: 'to see' });
      await projector.stop();
    } finally {
      await there.close();
    }
  });

  it('control: a reader that believes its position there skips what is appended, in silence', async (context) => {
    const server = await ownPostgres(context);
    const there = await openFixture('believed', { serverUrl: server.url });
    try {
      await useNumbers(fixture.admin, 5000);
      const here = fixture.project();
      await fixture.fill('a', 20);
      await eventually(async () => expect(await fixture.balances()).toHaveLength(1));
      await here.stop();
      await restoreInto(fixture, there);
      await there.run('a', { type: 'Deposit', pence: 1 });
      const found = await there.admin`
        SELECT version FROM events, subscriptions
        WHERE xid >= pg_snapshot_xmax(done) OR xid = ANY (ARRAY(SELECT pg_snapshot_xip(done)))`;
      expect(found).toHaveLength(0);
      expect(await fixture.rows('a')).toHaveLength(20);
    } finally {
      await there.close();
    }
  });
});

describe('a position that cannot be', () => {
  it.each([
    ['is of another server', `UPDATE subscriptions SET origin = '1/1'`],
    ['ends with transactions that have yet to come', `UPDATE subscriptions SET done = '3:900000000:'`],
    [
      'is good, but an event is of a transaction that has yet to come',
      `UPDATE events SET xid = '900000000' WHERE version = 2`,
    ],
  ])('because it %s stops the reader, which says how it is mended', async (_name, change) => {
    const projector = fixture.project();
    await fixture.fill('a', 3);
    await eventually(async () => expect(await fixture.balances()).toMatchObject([{ events: 3 }]));
    await fixture.admin.begin(async (tx) => {
      // A step that has looked already would still do the next event.
      await tx`SELECT FROM subscriptions FOR UPDATE`;
      await tx.unsafe(change);
    });
    await fixture.run('a', { type: 'Deposit', pence: 1 });
    await eventually(() =>
      expect(health(projector)).toMatchObject({ reason: expect.stringContaining('npm run events -- adopt') }),
    );
    expect(await listSubscriptions(fixture.database)).toMatchObject([{ foreign: true }]);
    expect(await fixture.balances()).toMatchObject([{ events: 3 }]);
    expect((await adoptDatabase(fixture.database)).projections).toEqual(['balances']);
    expect(await maxXid(fixture)).toBe(3);
    await eventually(async () =>
      expect(await fixture.balances()).toMatchObject([{ events: 4, disorder: 0 }]),
    );
  });

  it('is what is read until the new one is built', async () => {
    const projector = fixture.project();
    await fixture.fill('a', 3);
    await eventually(async () => expect(await fixture.balances()).toMatchObject([{ events: 3 }]));
    await projector.stop();
    await fixture.admin`UPDATE subscriptions SET origin = '1/1'`;
    await adoptDatabase(fixture.database);
    expect(await fixture.balances()).toMatchObject([{ events: 3 }]);
    fixture.project();
    await eventually(async () => expect(await fixture.liveGeneration()).toBe(2));
    expect(await fixture.balances()).toMatchObject([{ events: 3, disorder: 0 }]);
    await eventually(async () => expect(await fixture.balances(1)).toEqual([]));
  });
});

describe('adopting', () => {
  it('does nothing where nothing is of another server', async () => {
    fixture.project();
    await fixture.fill('a', 3);
    await eventually(async () => expect(await fixture.balances()).toMatchObject([{ events: 3 }]));
    const before = await maxXid(fixture);
    expect(await adoptDatabase(fixture.database)).toEqual({ events: 0, projections: [] });
    expect(await maxXid(fixture)).toBe(before);
    expect(await fixture.liveGeneration()).toBe(1);
  });

  it('waits for one that condenses: by the position that it undoes, events would be deleted that nobody has read', async () => {
    fixture.project();
    await fixture.fill('a', 3);
    await eventually(async () => expect(await fixture.balances()).toMatchObject([{ events: 3 }]));
    const end = await openTransaction(fixture.database, (tx) =>
      tx.execute(sql`SELECT pg_advisory_xact_lock_shared(${LOCKS.condensing}::int, 0)`),
    );
    await fixture.admin`UPDATE subscriptions SET origin = '1/1'`;
    let isAdopted = false;
    const adopted = adoptDatabase(fixture.database).then((done) => {
      isAdopted = true;
      return done;
    });
    await eventually(async () =>
      expect(
        await fixture.admin`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      ).toHaveLength(1),
    );
    expect(isAdopted).toBe(false);
    await end();
    expect((await adopted).projections).toEqual(['balances']);
  });

  it('gives up what was being built, and takes over more events than fit into one statement, while others append', async () => {
    for (let i = 0; i < 6; i++) await fixture.run(`s${i}`, { type: 'Deposit', pence: 1, times: 2000 });
    const projector = fixture.project();
    await eventually(async () => expect(await fixture.balances()).toHaveLength(6));
    await fixture.admin`UPDATE subscriptions SET origin = '1/1'`;
    await fixture.admin`INSERT INTO subscriptions (name, generation, code_version, state, done, origin)
      VALUES ('balances', 2, 1, 'building', '1:1:', '1/1')`;
    let writing = true;
    const written = (async () => {
      let n = 0;
      for (; writing; n++) await fixture.run('s0', { type: 'Deposit', pence: 1 });
      return n;
    })();
    const { events } = await adoptDatabase(fixture.database);
    writing = false;
    const appended = await written;
    expect(events).toBeGreaterThanOrEqual(12_000);
    await eventually(async () => expect(await fixture.liveGeneration()).toBe(3));
    await eventually(async () =>
      expect((await fixture.balances()).map((row) => [row.events, row.disorder])).toEqual(
        [2000 + appended, 2000, 2000, 2000, 2000, 2000].map((n) => [n, 0]),
      ),
    );
    await projector.stop();
  });
});
