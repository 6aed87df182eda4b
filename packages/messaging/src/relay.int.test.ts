import { DaprError } from '@sidecart/kit/dapr-error';
import type { Health } from '@sidecart/kit/health';
import { createLogger } from '@sidecart/kit/log';
import { testDeps } from '@sidecart/kit/testing';
import fc from 'fast-check';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { cutProxy } from '../../../tests/cut-proxy.ts';
import { seed } from '../../../tests/seed.ts';
import type { CloudEvent } from './envelope.ts';
import {
  eventually,
  type Fixture,
  openFixture,
  openTransaction,
  outbox,
  pause,
  placed,
  remind,
  reserve,
} from './fixture.ts';
import { makeDeadRows } from './fixture-dead-rows.ts';
import { behind, fillLong, LONG } from './fixture-long-key.ts';
import { firstAppearances, recorder } from './fixture-recorder.ts';
import { hurryTimers } from './fixture-timers.ts';
import { OutboxSetupError } from './outbox-check.ts';
import { createRelay, type Relay, type RelayOptions } from './relay.ts';
import { slotOf } from './slot.ts';

/** As in relay-loop.ts. */
const PUBLISH_MS = 10_000;

let fixture: Fixture;
const relays: Relay[] = [];

beforeAll(async () => {
  fixture = await openFixture('relay');
});
beforeEach(() => fixture.clear());
afterEach(async () => {
  await Promise.all(relays.splice(0).map((relay) => relay.stop()));
});
afterAll(() => fixture?.close());

async function start(
  publish: RelayOptions['publish'],
  o: Partial<RelayOptions> = {},
): Promise<Relay & { health: Health; metrics: RelayOptions['metrics'] }> {
  const { log, metrics, health } = testDeps('orders');
  const relay = createRelay({
    url: fixture.urls.url,
    service: 'orders',
    log,
    metrics,
    health,
    publish,
    ...o,
  });
  relays.push(relay);
  await relay.start();
  return { ...relay, health, metrics };
}

/** A log, and what was said on that level. */
function lines(level: string) {
  const said: Record<string, unknown>[] = [];
  const write = (line: string) => void said.push(JSON.parse(line));
  const log = createLogger({ service: 'orders', level, destination: { write } });
  return { log, read: () => said };
}

const write = (...messages: ReturnType<typeof placed>[]) =>
  fixture.database.db.transaction((tx) => outbox.publish(tx, ...messages));
const waiting = async () =>
  Number((await fixture.database.sql<{ n: number }[]>`SELECT count(*)::int AS n FROM outbox`)[0]?.n);
const emptied = (ms?: number) => eventually(async () => expect(await waiting()).toBe(0), ms);

function expectInOrder(arrived: CloudEvent[], written: number): void {
  let count = 0;
  for (const [key, numbers] of firstAppearances(arrived)) {
    expect(numbers, key).toEqual(numbers.map((_, i) => i + 1));
    count += numbers.length;
  }
  expect(count, 'messages that arrived').toBe(written);
}

describe('publishing', () => {
  test('what commits arrives as a CloudEvent and leaves the outbox', async () => {
    const broker = recorder();
    const relay = await start(broker.publish);
    await fixture.database.db.transaction(async (tx) => {
      await outbox.publish(tx, { ...placed('k', 1), customerId: 'c1' });
      await outbox.send(tx, reserve('k', 2));
    });
    relay.nudge();
    await emptied();
    expect(broker.arrived).toHaveLength(2);
    expect(broker.arrived.find((e) => e.type === 'Placed')).toMatchObject({
      specversion: '1.0',
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      source: '/sidecart/orders',
      type: 'Placed',
      datacontenttype: 'application/json',
      dataschema: '/schemas/Placed.json',
      partitionkey: 'k',
      sequence: '1',
      customerid: 'c1',
      actor: 'system',
      data: { key: 'k', n: 1 },
    });
    expect(broker.arrived[0]).not.toHaveProperty('traceid');
  });

  test('random writers, a broker that fails and one whose answer is lost: all arrive, each key in order', async () => {
    const writers = fc.array(
      fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1, maxLength: 4 }),
      {
        minLength: 5,
        maxLength: 25,
      },
    );
    await fc.assert(
      fc
        .asyncProperty(writers, fc.infiniteStream(fc.nat(99)), async (all, chance) => {
          const broker = recorder(async () => {
            const dice = chance.next().value;
            await pause(dice % 3);
            if (dice < 4) throw new DaprError('unavailable', 'the answer was lost');
          });
          const relay = await start(broker.publish, { pollMs: 20 });
          await Promise.all(
            all.map(async (keys, i) => {
              await pause(i % 7);
              await write(...keys.map((key) => placed(key, i)));
              relay.nudge();
            }),
          );
          await emptied(20_000);
          await relay.stop();
          expect(broker.overlaps).toEqual([]);
          expectInOrder(broker.arrived, all.flat().length);
        })
        .beforeEach(() => fixture.clear()),
      { seed, numRuns: 5 },
    );
  });

  test('a backlog of many keys drains, and a key with hundreds of messages does not hold up the others', async () => {
    const long = Array.from({ length: 400 }, (_, i) => placed('long', i));
    await write(...long);
    await write(...Array.from({ length: 300 }, (_, i) => placed(`k${i}`, i)));
    const broker = recorder((event) => (event.partitionkey === 'long' ? pause(2) : undefined));
    await start(broker.publish);
    await emptied(15_000);
    expectInOrder(broker.arrived, 700);
    const lastOther = broker.arrived.findLastIndex((e) => e.partitionkey !== 'long');
    expect(lastOther, 'position of the last message of another key').toBeLessThan(600);
  });

  test('a key with thousands of messages that fail holds up no other of its slot, and goes on when it is let through', async () => {
    await fillLong(fixture, 'outbox', 'Placed');
    let isLet = false;
    const broker = recorder((event) => {
      if (event.partitionkey === 'long' && !isLet) throw new Error('not yet');
    });
    await start(broker.publish);
    await eventually(() => expect(broker.arrived.map((e) => e.partitionkey)).toContain(behind), 5000);
    isLet = true;
    await emptied(30_000);
    expect(firstAppearances(broker.arrived).get('long')).toEqual(
      Array.from({ length: LONG }, (_, i) => i + 1),
    );
  });

  test('what is committed with a nudge is published long before the next poll', async () => {
    const broker = recorder();
    const relay = await start(broker.publish, { pollMs: 2000 });
    fixture.database.onCommit(relay.nudge);
    await pause(100);
    const began = performance.now();
    await write(placed('k', 1));
    await eventually(() => expect(broker.arrived).toHaveLength(1));
    expect(performance.now() - began).toBeLessThan(500);
  });
});

test('a message by the id of one that was acknowledged is not taken for it, as after a restore of the database', async () => {
  const { admin } = fixture;
  const anew = () => admin`TRUNCATE outbox RESTART IDENTITY`;
  const ids = async () => [...(await admin`SELECT id::int FROM outbox`)];
  await anew();
  await write(placed('k', 1));
  const before = await ids();
  const broker = recorder(async (_, nth) => {
    if (nth !== 1) return;
    await anew();
    await write(placed('k', 2));
    expect(await ids()).toEqual(before);
  });
  await start(broker.publish);
  await eventually(() => expect(broker.arrived.map(({ data }) => data)).toMatchObject([{ n: 1 }, { n: 2 }]));
  await emptied();
});

describe('what cannot be published', () => {
  test('a refused message holds up its key only, shows, is never dropped, and goes on when it is taken', async () => {
    let cured = false;
    const broker = recorder((event) => {
      if (event.partitionkey === 'bad' && !cured) throw new DaprError('refused', 'too big', { status: 413 });
    });
    const relay = await start(broker.publish);
    await write(placed('bad', 1), placed('bad', 2), placed('good', 1), placed('good', 2));
    relay.nudge();
    await eventually(async () => expect(await waiting()).toBe(2));
    expect(relay.health.details().components.outbox).toMatchObject({
      status: 'degraded',
      reason: expect.stringContaining('orders bad waits'),
    });
    const exposed = await relay.metrics.registry.metrics();
    expect(exposed).toMatch(
      /sidecart_outbox_publish_failures_total\{topic="orders",refused="true"[^}]*\} [1-9]/,
    );
    expect(exposed).toMatch(/sidecart_outbox_failing_keys\{refused="true"[^}]*\} 1/);
    await pause(700);
    expect(await waiting()).toBe(2);
    cured = true;
    await emptied();
    expectInOrder(broker.arrived, 4);
    await eventually(() => expect(relay.health.details().components.outbox?.status).toBe('ok'), 7000);
  });

  test('refused messages of many keys hold up no other key of their topic, which is not taken for one that is down', async () => {
    const broker = recorder((event) => {
      if (event.partitionkey.startsWith('bad')) throw new DaprError('refused', 'too big', { status: 413 });
    });
    const relay = await start(broker.publish);
    await write(...Array.from({ length: 60 }, (_, i) => placed(`bad${i}`, 1)));
    relay.nudge();
    await eventually(async () => {
      const exposed = await relay.metrics.registry.metrics();
      expect(exposed).toMatch(/sidecart_outbox_failing_keys\{refused="true"[^}]*\} 60/);
    });
    await write(placed('good', 1));
    relay.nudge();
    await eventually(async () => expect(await waiting()).toBe(60), 2000);
    const { outbox } = relay.health.details().components;
    expect(outbox).toMatchObject({ status: 'degraded', reason: expect.stringContaining('more keys wait') });
    expect(outbox?.reason).not.toContain('nothing can be published');
  });

  test('a service that may not publish to a topic finds that out once, and not with each of its keys', async () => {
    let allowed = false;
    let atOnce = 0;
    let most = 0;
    const broker = recorder(async (_, nth) => {
      if (allowed) return;
      atOnce += 1;
      if (nth > 40) most = Math.max(most, atOnce);
      await pause(3);
      atOnce -= 1;
      throw new DaprError('denied', 'topic orders is not allowed for app id orders', { status: 403 });
    });
    const errors = lines('error');
    const relay = await start(broker.publish, { log: errors.log });
    await write(...Array.from({ length: 100 }, (_, i) => placed(`k${i}`, 1)));
    await pause(1500);
    expect(broker.arrived.length).toBeLessThan(150);
    expect(most).toBe(1);
    const { outbox } = relay.health.details().components;
    expect(outbox?.reason).toContain('nothing can be published to orders');
    expect(outbox?.reason).toContain('topic orders is not allowed for app id orders');
    expect(errors.read().length).toBeLessThan(40);
    expect(errors.read()[0]?.message).toContain('scopes of the component');
    allowed = true;
    await emptied();
    expectInOrder(broker.arrived, 100);
  });

  test('a message that was refused is told of once, and can be let go', async () => {
    const broker = recorder((event, nth) => {
      if (nth === 1) throw new DaprError('unavailable', 'the broker begins anew, with a lower limit');
      if (JSON.stringify(event.data).includes('"n":1}'))
        throw new DaprError('refused', 'too big', { status: 413 });
    });
    const errors = lines('error');
    const relay = await start(broker.publish, { log: errors.log });
    await write(placed('bad', 1), placed('bad', 2));
    relay.nudge();
    await eventually(() => expect(broker.arrived.length).toBeGreaterThan(3));
    expect(errors.read()).toMatchObject([{ message: expect.stringContaining('let the message go') }]);
    const id = errors.read()[0]?.message_id as string;
    await relay.stop();
    // As docs/messages.md says.
    await fixture.admin.unsafe(`UPDATE outbox SET payload = 'null' WHERE event_id = '${id}'`);
    await start(broker.publish);
    await emptied();
    expect(broker.arrived.slice(-2).map(({ data, sequence }) => [data, sequence])).toMatchObject([
      [null, '1'],
      [{ n: 2 }, '2'],
    ]);
  });

  test('a publish that never ends counts as failed after its time, and holds up its key until then only', async () => {
    hurryTimers(PUBLISH_MS, 300);
    const broker = recorder((_, nth) => (nth === 1 ? new Promise<void>(() => {}) : undefined));
    const relay = await start(broker.publish);
    await write(placed('k', 1), placed('k', 2));
    await emptied();
    expect(broker.arrived.map(({ sequence }) => sequence)).toEqual(['1', '1', '2']);
    expect(await relay.metrics.registry.metrics()).toMatch(
      /sidecart_outbox_publish_failures_total\{topic="orders",refused="false"[^}]*\} 1/,
    );
  });

  test('a broker that is away for a while: one attempt at a time, everything arrives when it is back', async () => {
    let away = true;
    let atOnce = 0;
    let most = 0;
    const broker = recorder(async (_, nth) => {
      if (!away) return;
      atOnce += 1;
      if (nth > 40) most = Math.max(most, atOnce);
      await pause(3);
      atOnce -= 1;
      throw new DaprError('connection-closed', 'nats: connection closed', { status: 500 });
    });
    const relay = await start(broker.publish);
    await write(...Array.from({ length: 200 }, (_, i) => placed(`k${i % 100}`, i)));
    await pause(1500);
    const attempts = broker.arrived.length;
    expect(attempts).toBeLessThan(150);
    expect(most).toBe(1);
    expect(relay.health.details().components.outbox?.reason).toContain('nothing can be published to orders');
    away = false;
    await emptied();
    expectInOrder(broker.arrived, 200);
    expect(relay.health.details().components.outbox?.status).toBe('ok');
  });
});

/** Another key of the same slot, so that reading its messages takes the relay beyond an id that is not committed yet. */
function inSlotOf(key: string): string {
  for (let i = 0; ; i++) if (slotOf(`other${i}`) === slotOf(key)) return `other${i}`;
}

describe('the order of commits', () => {
  test('a lower id that is committed late is sent within one sweep', async () => {
    const broker = recorder();
    const relay = await start(broker.publish);
    const commit = await openTransaction(fixture.database, (tx) => outbox.publish(tx, placed('late', 1)));
    for (let i = 0; i < 5; i++) await write(placed(inSlotOf('late'), i));
    relay.nudge();
    await emptied();
    expect(broker.arrived).toHaveLength(5);
    await commit();
    const committed = performance.now();
    await eventually(() => expect(broker.arrived).toHaveLength(6));
    expect(performance.now() - committed).toBeLessThan(1500);
  });

  test('and by a sweep when it was committed so late that no look back reaches it', async () => {
    const broker = recorder();
    const relay = await start(broker.publish);
    const commit = await openTransaction(fixture.database, (tx) => outbox.publish(tx, placed('late', 1)));
    // Looks back go four seconds back at most; after six the database would end the transaction.
    for (let i = 0; i < 5; i++) {
      await write(placed(inSlotOf('late'), i));
      relay.nudge();
      await pause(1000);
    }
    expect(broker.arrived).toHaveLength(5);
    await commit();
    await eventually(() => expect(broker.arrived).toHaveLength(6), 5000);
  });

  test('what nobody tells of is found by a poll, long before the next sweep', async () => {
    const broker = recorder();
    await start(broker.publish, { pollMs: 50 });
    await pause(100);
    const beganAt = performance.now();
    for (let i = 0; i < 8; i++) {
      await write(placed('k', i));
      await emptied();
    }
    expect(performance.now() - beganAt).toBeLessThan(4000); // sweeps are a second apart
  });

  test('ids that were rolled back are waited for by nobody', async () => {
    const broker = recorder();
    const relay = await start(broker.publish, { pollMs: 2000 });
    await pause(100);
    for (let i = 0; i < 5; i++) {
      const undone = fixture.database.db.transaction(async (tx) => {
        await outbox.publish(tx, placed('gap', 0), placed('k', 0));
        throw new Error('undone');
      });
      await expect(undone).rejects.toThrow('undone');
      await write(placed('k', i));
    }
    relay.nudge();
    await emptied();
    expectInOrder(broker.arrived, 5);
  });

  test('a transaction that stays open, in this or in another database, holds up nothing', async () => {
    const broker = recorder();
    const relay = await start(broker.publish);
    const elsewhere = new URL(fixture.urls.superUrl);
    elsewhere.pathname = '/postgres';
    const others = [fixture.urls.superUrl, elsewhere.href].map((url) => postgres(url, { max: 1 }));
    const end = Promise.withResolvers<void>();
    const held: Promise<unknown>[] = [];
    for (const other of others) {
      await new Promise<void>((began) => {
        const open = other.begin(async (tx) => {
          await tx`SELECT pg_current_xact_id()`;
          began();
          await end.promise;
        });
        held.push(open);
      });
    }
    for (let i = 0; i < 30; i++) {
      await write(placed(`k${i % 3}`, i));
      relay.nudge();
    }
    await emptied();
    expectInOrder(broker.arrived, 30);
    end.resolve();
    await Promise.all(held);
    await Promise.all(others.map((other) => other.end()));
  });

  test('rows that are dead and cannot be vacuumed are passed at the start, not in each sweep', async () => {
    const dead = await makeDeadRows(fixture, { queue: 'outbox', slot: slotOf('k'), rows: 10_000 });
    const broker = recorder();
    const relay = await start(broker.publish, { pollMs: 10 });
    for (let i = 0; i < 100; i++) {
      await write(placed('k', i));
      relay.nudge();
      await pause(20);
    }
    await emptied();
    await relay.stop(); // which is when a session says what it has counted
    expect(broker.arrived).toHaveLength(100);
    const looks = await dead.passed();
    expect(looks).toBeGreaterThanOrEqual(1);
    expect(looks).toBeLessThan(4);
    await dead.release();
  });

  test('and a later message of the same key waits for it', async () => {
    const broker = recorder();
    const relay = await start(broker.publish);
    const commit = await openTransaction(fixture.database, (tx) => outbox.publish(tx, placed('k', 1)));
    await write(placed(inSlotOf('k'), 1));
    relay.nudge();
    await eventually(() => expect(broker.arrived).toHaveLength(1));
    const next = write(placed('k', 2)); // waits for the counter
    await Promise.all([commit(), next]);
    relay.nudge();
    await emptied();
    expect(broker.arrived.filter((e) => e.partitionkey === 'k').map((e) => e.sequence)).toEqual(['1', '2']);
  });
});

/** The slots that are owned, by the name of the session. */
async function ownership(): Promise<Map<string, number[]>> {
  const rows = await fixture.admin<{ name: string; slots: number[] }[]>`
    SELECT application_name AS name, json_agg(objid::bigint ORDER BY objid::bigint) AS slots
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND classid = 7001 AND granted AND datname = current_database() GROUP BY 1`;
  return new Map(rows.map(({ name, slots }) => [name, slots]));
}

const slotOwners = async () => [...(await ownership()).keys()];

const endSessions = () => fixture.admin`
  SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = 'orders-relay'`;

describe('one relay at a time', () => {
  /** Many keys, three relays; nothing ends before all three had time to begin. */
  async function threeRelays() {
    const begun = Promise.withResolvers<void>();
    const broker = recorder(async () => {
      await begun.promise;
      await pause(3);
    });
    await write(...Array.from({ length: 240 }, (_, i) => placed(`k${i % 12}`, i)));
    for (let i = 0; i < 3; i++) await start(broker.publish, { pollMs: 20 });
    await pause(500);
    begun.resolve();
    await emptied(20_000);
    return broker;
  }

  test('three relays publish each message once, and never two of one key at once', async () => {
    const broker = await threeRelays();
    expect(broker.overlaps).toEqual([]);
    expect(broker.arrived).toHaveLength(240);
    expectInOrder(broker.arrived, 240);
  });

  test('control: without the lock they overlap and publish twice', async () => {
    const { admin, urls } = fixture;
    const role = new URL(urls.url).username;
    await admin.unsafe(`
      CREATE FUNCTION public.pg_try_advisory_lock(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
      CREATE VIEW public.pg_locks AS SELECT * FROM pg_catalog.pg_locks WHERE false;
      GRANT SELECT ON public.pg_locks TO "${role}";
      ALTER ROLE "${role}" SET search_path = public, pg_catalog`);
    try {
      const broker = await threeRelays();
      expect(broker.overlaps.length).toBeGreaterThan(0);
      expect(broker.arrived.length).toBeGreaterThan(240);
    } finally {
      await Promise.all(relays.splice(0).map((relay) => relay.stop()));
      await admin.unsafe(`
        ALTER ROLE "${role}" RESET search_path;
        DROP VIEW public.pg_locks;
        DROP FUNCTION public.pg_try_advisory_lock(int, int)`);
    }
  });

  test('relays that come take their share, and never are two of a key in flight while slots are given up', async () => {
    // Now and then longer than it takes another relay to find a slot that is free.
    const broker = recorder((_, nth) => pause(nth % 10 === 0 ? 900 : 20));
    let written = 0;
    const load = async () => {
      await write(...Array.from({ length: 100 }, (_, i) => placed(`k${i % 25}`, i)));
      written += 100;
    };
    const levels = async () => [...(await ownership()).values()].map(({ length }) => length).sort();
    await load();
    await start(broker.publish, { pollMs: 20, applicationName: 'first' });
    await eventually(() => expect(broker.arrived.length).toBeGreaterThan(16));
    const second = await start(broker.publish, { pollMs: 20, applicationName: 'second' });
    await load();
    await eventually(async () => expect(await levels()).toEqual([8, 8]));
    await start(broker.publish, { pollMs: 20, applicationName: 'third' });
    await load();
    await eventually(async () => expect(await levels()).toEqual([5, 5, 6]));
    await second.stop();
    await load();
    await eventually(async () => expect(await levels()).toEqual([8, 8]));
    await emptied(20_000);
    expect(broker.overlaps).toEqual([]);
    expect(broker.arrived).toHaveLength(written);
    expectInOrder(broker.arrived, written);
  });

  test.each([
    ['a second relay: more at once than one publishes', 2],
    ['control: one relay alone has 16 on their way at most', 1],
  ])('%s', async (_, relays) => {
    let [now, peak] = [0, 0];
    const broker = recorder(async () => {
      now += 1;
      peak = Math.max(peak, now);
      await pause(30);
      now -= 1;
    });
    for (let i = 0; i < relays; i += 1)
      await start(broker.publish, { pollMs: 20, applicationName: `relay ${i}` });
    await eventually(async () => {
      const shares = [...(await ownership()).values()].map(({ length }) => length);
      expect(shares).toEqual(Array.from({ length: relays }, () => 16 / relays));
    });
    await write(...Array.from({ length: 600 }, (_, i) => placed(`k${i}`, i)));
    await emptied(20_000);
    expect(broker.arrived).toHaveLength(600);
    if (relays > 1) expect(peak).toBeGreaterThan(16);
    else expect(peak).toBeLessThanOrEqual(16);
  });

  test('a slot is given up only when what was acknowledged of it is gone, or the next owner would publish it again', async () => {
    const { admin } = fixture;
    // A removal takes longer than it takes another relay to find a slot that is free.
    await admin.unsafe(`
      CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.7); RETURN NULL; END';
      CREATE TRIGGER slowly BEFORE DELETE ON outbox FOR EACH STATEMENT EXECUTE FUNCTION slowly()`);
    try {
      const broker = recorder(() => pause(30));
      await write(...Array.from({ length: 800 }, (_, i) => placed(`k${i % 50}`, i)));
      await start(broker.publish, { pollMs: 20 });
      await eventually(() => expect(broker.arrived.length).toBeGreaterThan(100));
      await start(broker.publish, { pollMs: 20 });
      await emptied(30_000);
      expect(new Set(broker.arrived.map(({ id }) => id)).size).toBe(800);
      expect(broker.arrived).toHaveLength(800);
    } finally {
      await Promise.all(relays.splice(0).map((relay) => relay.stop()));
      await admin.unsafe('DROP TRIGGER slowly ON outbox; DROP FUNCTION slowly()');
    }
  });

  test('a relay that was frozen publishes nothing before it has heard from the database again', async () => {
    // What happens before anything that came meanwhile is looked at: the server has given its slots away.
    let justThawed = false;
    const early: string[] = [];
    const broker = recorder(async ({ id }, nth) => {
      if (justThawed) early.push(id);
      await pause(10); // the relay is at rest
      if (nth !== 1) return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 700);
      justThawed = true;
      setImmediate(() => {
        justThawed = false;
      });
    });
    await write(placed('a', 1), placed('b', 2), placed('c', 3));
    await start(broker.publish, { concurrency: 1, idleSessionTimeoutMs: 400 });
    await emptied();
    expect(early).toEqual([]);
    expect(new Set(broker.arrived.map(({ id }) => id)).size).toBe(3);
  });

  test('control: slots that are lost and not given up have two of a key in flight, in order all the same', async () => {
    const broker = recorder(() => pause(1500));
    await start(broker.publish, { pollMs: 20, applicationName: 'first' });
    await start(broker.publish, { pollMs: 20, applicationName: 'second' });
    await eventually(async () =>
      expect([...(await ownership()).values()].map((s) => s.length)).toEqual([8, 8]),
    );
    await write(...Array.from({ length: 32 }, (_, i) => placed(`k${i % 16}`, i)));
    await eventually(() => expect(broker.arrived).toHaveLength(16));
    await fixture.admin`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'first-relay'`;
    await emptied(20_000);
    expect(broker.overlaps.length).toBeGreaterThan(0);
    expectInOrder(broker.arrived, 32);
  });

  test('commits beside a relay that does not own their slot reach the owner long before it looks by itself', async () => {
    const broker = recorder();
    await start(broker.publish, { pollMs: 2000, applicationName: 'first' });
    const other = await start(broker.publish, { pollMs: 2000, applicationName: 'second' });
    const owned = async () => [...((await ownership()).get('first-relay') ?? [])];
    await eventually(async () => expect(await owned()).toHaveLength(8));
    await pause(100);
    const theirs = new Set(await owned());
    const key = Array.from({ length: 100 }, (_, i) => `k${i}`).find((k) => theirs.has(slotOf(k))) ?? '';
    const began = performance.now();
    for (let n = 1; n <= 5; n += 1) {
      await write(placed(key, n));
      other.nudge();
      await eventually(() => expect(broker.arrived).toHaveLength(n));
    }
    // Found by the sweeps of its owner, each but the first would take a second.
    expect(performance.now() - began).toBeLessThan(2500);
  });

  test('control: an owner that may be silent for ever keeps its slots when it freezes', async () => {
    const frozen = postgres(fixture.urls.url, { max: 1, connection: { application_name: 'frozen' } });
    await frozen`SELECT pg_advisory_lock(7001, slot) FROM generate_series(0, 15) AS slot`;
    const broker = recorder();
    const relay = await start(broker.publish, { idleSessionTimeoutMs: 500 });
    await write(placed('k', 1));
    relay.nudge();
    await pause(1500);
    expect(await slotOwners()).toEqual(['frozen']);
    expect(broker.arrived).toEqual([]);
    await frozen.end();
    await emptied();
  });

  test('a relay whose connection is ended again and again loses nothing and keeps the order', async () => {
    const broker = recorder(() => pause(2));
    const relay = await start(broker.publish, { pollMs: 20 });
    await start(broker.publish, { pollMs: 20 });
    for (let round = 0; round < 5; round++) {
      await write(...Array.from({ length: 40 }, (_, i) => placed(`k${i % 8}`, i)));
      relay.nudge();
      await pause(25);
      await endSessions();
    }
    await emptied(20_000);
    expectInOrder(broker.arrived, 200);
  });

  test('a relay that gets a new connection waits for what it has in flight', async () => {
    const broker = recorder(() => pause(300));
    const relay = await start(broker.publish);
    await write(placed('a', 1), placed('b', 1), placed('a', 2));
    relay.nudge();
    await eventually(() => expect(broker.arrived).toHaveLength(2));
    await endSessions();
    await emptied();
    expect(broker.overlaps).toEqual([]);
    expect(broker.arrived).toHaveLength(3); // what was acknowledged meanwhile is not published again
  });
});

describe('start, outage and stop', () => {
  test('a database that is away is waited for, at the start and later, and is only degraded', async () => {
    const { admin, urls } = fixture;
    const name = new URL(urls.url).pathname.slice(1);
    const server = new URL(urls.superUrl);
    server.pathname = '/postgres';
    const outside = postgres(server.href, { max: 1 });
    const away = async () => {
      await outside.unsafe(`ALTER DATABASE "${name}" ALLOW_CONNECTIONS false`);
      await endSessions().catch(() => {});
    };
    const back = () => outside.unsafe(`ALTER DATABASE "${name}" ALLOW_CONNECTIONS true`);
    try {
      await admin`SELECT 1`;
      await away();
      const broker = recorder();
      const relay = await start(broker.publish);
      expect(relay.health.details().components.outbox).toMatchObject({
        status: 'degraded',
        reason: expect.stringContaining('no database'),
      });
      await back();
      await eventually(() => expect(relay.health.details().components.outbox?.status).toBe('ok'));
      await away();
      await eventually(() => expect(relay.health.details().components.outbox?.status).toBe('degraded'));
      await pause(1500);
      await back();
      await write(placed('k', 1));
      await emptied();
      expect(broker.arrived).toHaveLength(1);
    } finally {
      await back();
      await outside.end();
    }
  });

  test('a database that falls silent without ending the connection is left for a new one', async () => {
    const proxy = await cutProxy(fixture.urls.url);
    const broker = recorder();
    const relay = await start(broker.publish, { url: proxy.url, idleSessionTimeoutMs: 1000 });
    await write(placed('k', 1));
    await emptied();
    proxy.silence();
    await write(placed('k', 2));
    await eventually(() =>
      expect(relay.health.details().components.outbox?.reason).toBe(
        'no database: The database does not answer orders-relay',
      ),
    );
    await emptied();
    expectInOrder(broker.arrived, 2);
    expect(relay.health.details().components.outbox?.status).toBe('ok');
  });

  test.each(
    ['outbox', 'outbox_local'].flatMap((table) => [
      ['are taken in advance', table, 'SET CACHE 20'],
      ['are given out from the highest on', table, 'SET INCREMENT BY -1'],
    ]),
  )('ids that %s, of %s, are refused at the start, and its cure cures', async (_, table, change) => {
    const { admin } = fixture;
    await admin.unsafe(`ALTER TABLE ${table} ALTER COLUMN id ${change}`);
    const refused = await start(async () => {}).catch((err: unknown) => err);
    expect(refused).toBeInstanceOf(OutboxSetupError);
    await admin.unsafe((refused as OutboxSetupError).cure);
    await start(async () => {});
  });

  test('tables that are wrong only when a connection is opened anew show with the cure, not as a database that is away', async () => {
    const { admin } = fixture;
    const relay = await start(async () => {});
    await admin.unsafe('ALTER TABLE outbox ALTER COLUMN id SET CACHE 20');
    await endSessions();
    await eventually(() =>
      expect(relay.health.details().components.outbox?.reason).toMatch(
        /^The ids of outbox must .*Cure: ALTER TABLE/,
      ),
    );
    await admin.unsafe('ALTER TABLE outbox ALTER COLUMN id SET CACHE 1');
    await eventually(() => expect(relay.health.details().components.outbox?.status).toBe('ok'));
  });

  test.each(['outbox', 'outbox_local'])(
    'rows of %s that wait in slots of another number of slots are refused at the start, with the cure',
    async (table) => {
      const { admin } = fixture;
      await fixture.database.db.transaction(async (tx) => {
        await outbox.publish(tx, ...Array.from({ length: 200 }, (_, i) => placed(`k${i}`, i)));
        await outbox.send(tx, ...Array.from({ length: 200 }, (_, i) => remind(`k${i}`, i)));
      });
      await admin`UPDATE ${admin(table)} SET slot = slot % 8`; // as 8 slots would have it
      await expect(start(async () => {})).rejects.toThrow(
        new RegExp(
          `${table} has rows that were written for another number of slots than 16.* Cure: run the version that wrote them`,
        ),
      );
      await admin`UPDATE ${admin(table)} SET slot = 0`;
      await expect(start(async () => {})).rejects.toThrow(OutboxSetupError);
      await admin`TRUNCATE outbox, outbox_local`;
      await start(async () => {});
    },
  );

  test.each([
    { where: 'behind a thousand rows of one key', before: 1000, behind: 100 },
    { where: 'behind more rows of one key than are looked at, at the end', before: 2500, behind: 0 },
  ])('one of them is found $where', async ({ before, behind }) => {
    const { admin } = fixture;
    const many = (count: number) => Array.from({ length: count }, (_, i) => placed('long', i));
    const elsewhere = Array.from({ length: 100 }, (_, i) => `k${i}`).find(
      (k) => slotOf(k) !== slotOf('long'),
    );
    for (const messages of [many(before), [placed(elsewhere as string, 1)], many(behind)])
      await fixture.database.db.transaction((tx) => outbox.publish(tx, ...messages));
    await admin`UPDATE outbox SET slot = ${slotOf('long')}`;
    await expect(start(async () => {})).rejects.toThrow(`key ${elsewhere} waits in slot ${slotOf('long')}`);
  });

  test.each(['outbox', 'outbox_local'])(
    'rows of %s in slots that nobody would own are refused at the start',
    async (table) => {
      const { admin } = fixture;
      // As of a version with 32 slots, all of whose rows in the first 16 are gone.
      await admin.unsafe(`ALTER TABLE ${table} DROP CONSTRAINT ${table}_slot_range`);
      await fixture.database.db.transaction(async (tx) => {
        await outbox.publish(tx, placed('k', 1));
        await outbox.send(tx, remind('k', 1));
      });
      await admin`UPDATE ${admin(table)} SET slot = slot + 16`;
      try {
        await expect(start(async () => {})).rejects.toThrow(
          `${table} has rows that were written for another number of slots than 16: key k waits in slot ${slotOf('k') + 16}`,
        );
      } finally {
        await admin`TRUNCATE ${admin(table)}`;
        await admin.unsafe(
          `ALTER TABLE ${table} ADD CONSTRAINT ${table}_slot_range CHECK (slot BETWEEN 0 AND 15)`,
        );
      }
    },
  );

  test('a missing outbox is refused at the start', async () => {
    const { admin } = fixture;
    await admin`ALTER TABLE outbox RENAME TO elsewhere`;
    await expect(start(async () => {})).rejects.toMatchObject({
      message: 'Missing tables: outbox. Cure: run the migrations',
      cure: 'run the migrations',
    });
    await admin`ALTER TABLE elsewhere RENAME TO outbox`;
  });

  test('a stop waits for what is in flight, deletes it and gives the slots back', async () => {
    const broker = recorder(() => pause(200));
    const relay = await start(broker.publish, { concurrency: 2 });
    await write(placed('a', 1), placed('b', 1), placed('c', 1));
    relay.nudge();
    await eventually(() => expect(broker.arrived).toHaveLength(2));
    await relay.stop();
    expect(broker.arrived).toHaveLength(2);
    expect(await waiting()).toBe(1);
    await eventually(async () => expect(await slotOwners()).toEqual([]));
  });

  test('a publish that never settles does not hold up the stop', async () => {
    const broker = recorder(() => new Promise<void>(() => {}));
    const relay = await start(broker.publish);
    await write(placed('a', 1));
    await eventually(() => expect(broker.arrived).toHaveLength(1));
    const began = performance.now();
    await relay.stop();
    expect(performance.now() - began).toBeLessThan(4900);
    expect(await waiting()).toBe(1);
  });
});
