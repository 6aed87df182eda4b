import { testDeps } from '@sidecart/kit/testing';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { eventually, type Fixture, openFixture, outbox, placed } from './fixture.ts';
import { createHousekeeping } from './housekeeping.ts';
import { INBOX_DAYS, SENT_DAYS } from './limits.ts';
import { createRelay } from './relay.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('sent');
});
beforeEach(async () => {
  await fixture.clear();
  for (const part of await parts())
    if (part !== 'sent_default') await fixture.admin.unsafe(`DROP TABLE ${part}`);
});
afterAll(() => fixture?.close());

/** The parts of `sent`, by name. */
async function parts(): Promise<string[]> {
  const rows = await fixture.admin<{ name: string }[]>`
    SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'sent'::regclass ORDER BY 1`;
  return rows.map(({ name }) => name);
}

/** The name of the part for a day so many days from today, by the database's calendar in UTC. */
async function partOf(days: number): Promise<string> {
  const [row] = await fixture.admin<{ name: string }[]>`
    SELECT 'sent_' || to_char((now() AT TIME ZONE 'UTC')::date + ${days}::int, 'YYYYMMDD') AS name`;
  return row?.name ?? '';
}

const rotate = (days = SENT_DAYS) => fixture.database.sql`SELECT rotate_sent(${days}::int)`;
const sentAgo = (days: number, id = days) => fixture.admin`
  INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers, sent_at)
  VALUES (${id}, 'orders', 'k', gen_random_uuid(), ${id}, 'Placed', '{}', '{}', now() - make_interval(days => ${days}::int))`;
const where = () => fixture.admin<{ part: string; id: number }[]>`
  SELECT tableoid::regclass::text AS part, id::int AS id FROM sent ORDER BY id`;

async function relayAll(publish: () => Promise<void> = async () => {}) {
  const relay = createRelay({ ...testDeps('orders'), url: fixture.urls.url, publish, pollMs: 20 });
  await relay.start();
  return relay;
}
const write = (...numbers: number[]) =>
  fixture.database.db.transaction((tx) => outbox.publish(tx, ...numbers.map((n) => placed('k', n))));

describe('what the broker acknowledged', () => {
  test('moves to sent, whole, in one transaction', async () => {
    await write(1, 2, 3);
    const before = await fixture.admin`
      SELECT id, topic, msg_key, event_id, key_seq, type, payload::text, headers::text FROM outbox ORDER BY id`;
    const relay = await relayAll();
    await eventually(async () => expect(await where()).toHaveLength(3));
    await relay.stop();
    const after = await fixture.admin`
      SELECT id, topic, msg_key, event_id, key_seq, type, payload::text, headers::text FROM sent ORDER BY id`;
    expect([...after]).toEqual([...before]);
    const [made] = await fixture.admin`
      SELECT bool_and(xid > '0'::xid8) AS xids, bool_and(sent_at <= clock_timestamp()) AS times,
        (SELECT count(*)::int FROM outbox) AS outbox FROM sent`;
    expect(made).toEqual({ xids: true, times: true, outbox: 0 });
  });

  /** Never is a row in neither of the two tables, or in both, for somebody who looks at one moment. */
  async function look(work: () => Promise<void>, total: number): Promise<number[]> {
    let on = true;
    const seen = new Set<number>();
    const watching = (async () => {
      while (on) {
        const [row] = await fixture.admin<{ n: number }[]>`
          SELECT ((SELECT count(*) FROM outbox) + (SELECT count(*) FROM sent))::int AS n`;
        seen.add(row?.n ?? 0);
      }
    })();
    await work();
    await eventually(async () => expect(await where()).toHaveLength(total));
    on = false;
    await watching;
    return [...seen];
  }

  test('is in one of the two tables whenever somebody looks', async () => {
    await write(...Array.from({ length: 100 }, (_, i) => i));
    let relay: Awaited<ReturnType<typeof relayAll>> | undefined;
    const seen = await look(async () => {
      relay = await relayAll();
    }, 100);
    await relay?.stop();
    expect(seen).toEqual([100]);
  });

  test('control: moved by two statements it is in neither for a while', async () => {
    await write(1, 2, 3);
    const { sql } = fixture.database;
    const seen = await look(async () => {
      const gone = await sql`DELETE FROM outbox RETURNING *`;
      await new Promise((resolve) => setTimeout(resolve, 100));
      for (const row of gone)
        await sql`INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers)
          VALUES (${row.id}, ${row.topic}, ${row.msg_key}, ${row.event_id}, ${row.key_seq}, ${row.type}, '{}', '{}')`;
    }, 3);
    expect(seen).toContain(0);
  });

  test('is there once when two relays remove it, and the parts of the day are made meanwhile', async () => {
    const total = 200;
    const relays = [await relayAll(), await relayAll()];
    for (let i = 0; i < 10; i++) {
      await write(...Array.from({ length: total / 10 }, (_, n) => n));
      if (i === 5) await rotate();
    }
    await eventually(async () => expect(await where()).toHaveLength(total), 20_000);
    await Promise.all(relays.map((relay) => relay.stop()));
    const [made] =
      await fixture.admin`SELECT count(DISTINCT event_id)::int AS n, min(key_seq)::int, max(key_seq)::int FROM sent`;
    expect(made).toEqual({ n: total, min: 1, max: total });
  });
});

test('a part that is made for the day while rows go to the default one takes them, and the relay keeps its session', async () => {
  const { admin, urls } = fixture;
  const relay = await relayAll();
  const sessions = () =>
    admin`SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'orders-relay'`;
  const before = await sessions();
  const part = await partOf(0);
  const other = postgres(urls.superUrl, { max: 1 });
  await other.begin(async (tx) => {
    await tx`LOCK TABLE sent_default IN ACCESS EXCLUSIVE MODE`;
    await write(1);
    await eventually(async () => {
      const [row] = await admin`
        SELECT count(*)::int AS n FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'orders-relay' AND wait_event_type = 'Lock'`;
      expect(row?.n).toBe(1);
    });
    await tx`SELECT rotate_sent(${SENT_DAYS}::int)`;
  });
  await other.end();
  await eventually(async () => expect((await where()).map((row) => row.part)).toEqual([part]));
  expect([...(await sessions())]).toEqual([...before]);
  await relay.stop();
});

describe('rotation', () => {
  test('as the application role: makes the parts of today and the next two days, drops what is too old, again and again', async () => {
    await rotate();
    expect(await parts()).toEqual([...(await Promise.all([0, 1, 2].map(partOf))), 'sent_default'].sort());
    const old = [SENT_DAYS + 1, SENT_DAYS, 1];
    for (const days of old) {
      const [range] = await fixture.admin<{ from: string; to: string }[]>`
        SELECT d::text || ' 00:00+00' AS from, (d + 1)::text || ' 00:00+00' AS to
        FROM (SELECT (now() AT TIME ZONE 'UTC')::date - ${days}::int AS d) AS day`;
      await fixture.admin.unsafe(
        `CREATE TABLE ${await partOf(-days)} PARTITION OF sent FOR VALUES FROM ('${range?.from}') TO ('${range?.to}')`,
      );
      await sentAgo(days);
    }
    await sentAgo(0, 100);
    await rotate();
    expect(await where()).toEqual([
      { part: await partOf(-1), id: 1 },
      { part: await partOf(-SENT_DAYS), id: SENT_DAYS },
      { part: await partOf(0), id: 100 },
    ]);
    const before = await parts();
    await rotate();
    expect(await parts()).toEqual(before);
  });

  test('a row of no part lands in the default one; it moves when its part is made, and goes when it is too old', async () => {
    await sentAgo(0, 100);
    await sentAgo(3);
    await sentAgo(SENT_DAYS + 1);
    expect((await where()).map(({ part }) => part)).toEqual(['sent_default', 'sent_default', 'sent_default']);
    await rotate();
    expect(await where()).toEqual([
      { part: 'sent_default', id: 3 },
      { part: await partOf(0), id: 100 },
    ]);
  });

  test('the application may call it, may not change the tables itself, and cannot make it keep nothing', async () => {
    const { sql } = fixture.database;
    await expect(sql`DROP TABLE sent_default`).rejects.toThrow('must be owner');
    await expect(sql`CREATE TABLE mine (n int)`).rejects.toThrow('permission denied');
    await expect(rotate(0)).rejects.toThrow('at least one day');
  });

  test('what a caller puts in front of the catalogue is not used by it', async () => {
    const { admin, urls } = fixture;
    await admin.unsafe(
      `CREATE FUNCTION public.to_char(date, text) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$`,
    );
    const caller = postgres(urls.url, { max: 1, connection: { search_path: 'public, pg_catalog' } });
    await caller`SELECT rotate_sent(${SENT_DAYS}::int)`;
    await caller.end();
    await admin.unsafe('DROP FUNCTION public.to_char(date, text)');
    expect(await parts()).toContain(await partOf(0));
  });

  test('is called by housekeeping at its start', async () => {
    const housekeeping = createHousekeeping({ ...testDeps('orders'), database: fixture.database });
    await housekeeping.start();
    await eventually(async () => expect(await parts()).toHaveLength(4));
    await housekeeping.stop();
  });

  test('that takes longer than a statement may, as no parts were made for days, is done by housekeeping all the same', async () => {
    const { admin } = fixture;
    await admin.unsafe(`
      CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.2); RETURN NULL; END';
      CREATE TRIGGER slow AFTER DELETE ON sent_default FOR EACH STATEMENT EXECUTE FUNCTION slow()`);
    onTestFinished(
      async () => void (await admin.unsafe('DROP TRIGGER slow ON sent_default; DROP FUNCTION slow')),
    );
    await sentAgo(0, 100);
    await expect(rotate()).rejects.toMatchObject({ code: '57014' }); // the control
    const housekeeping = createHousekeeping({ ...testDeps('orders'), database: fixture.database });
    await housekeeping.start();
    onTestFinished(housekeeping.stop);
    await eventually(async () => expect(await where()).toEqual([{ part: await partOf(0), id: 100 }]), 20_000);
  }, 40_000);

  test('that housekeeping cannot do shows in the health details, is tried before its hour, and shows no more when done', async () => {
    const { admin, urls } = fixture;
    await admin`REVOKE EXECUTE ON FUNCTION rotate_sent FROM PUBLIC`;
    const user = new URL(urls.url).username;
    const { health, ...deps } = testDeps('orders');
    const housekeeping = createHousekeeping({ ...deps, health, database: fixture.database, retryMs: 20 });
    await housekeeping.start();
    onTestFinished(housekeeping.stop);
    onTestFinished(async () => void (await admin`GRANT EXECUTE ON FUNCTION rotate_sent TO PUBLIC`));
    await eventually(() =>
      expect(health.details().components.housekeeping).toEqual({
        status: 'degraded',
        reason: expect.stringMatching(/^rotation of sent, \d+ failures: permission denied for function/),
      }),
    );
    await admin`GRANT EXECUTE ON FUNCTION rotate_sent TO ${admin(user)}`;
    await eventually(() => expect(health.details().components.housekeeping).toEqual({ status: 'ok' }));
    expect(await parts()).toHaveLength(4);
  });
});

test('what is fetched from sent meets an inbox that knows it', () => {
  expect(SENT_DAYS).toBeLessThan(INBOX_DAYS);
});
