import { DaprError } from '@sidecart/kit/dapr-error';
import type { Health } from '@sidecart/kit/health';
import { testDeps } from '@sidecart/kit/testing';
import fc from 'fast-check';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CloudEvent } from './envelope.ts';
import { eventually, type Fixture, openFixture, outbox, pause, placed, reserve } from './fixture.ts';
import { OutboxSetupError } from './outbox-check.ts';
import { createRelay, type Relay, type RelayOptions } from './relay.ts';
import { slotOf } from './slot.ts';

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);

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

/** Stands for the broker: keeps what arrives, in order, and knows when two of one key were on their way at once. */
function recorder(answer: (event: CloudEvent, nth: number) => Promise<void> | void = () => {}) {
  const arrived: CloudEvent[] = [];
  const onTheWay = new Map<string, number>();
  const overlaps: string[] = [];
  return {
    arrived,
    overlaps,
    async publish(topic: string, event: CloudEvent): Promise<void> {
      const name = `${topic} ${event.partitionkey}`;
      const others = onTheWay.get(name) ?? 0;
      if (others > 0) overlaps.push(name);
      onTheWay.set(name, others + 1);
      arrived.push(event);
      try {
        await answer(event, arrived.length);
      } finally {
        onTheWay.set(name, (onTheWay.get(name) ?? 1) - 1);
      }
    },
  };
}

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

const write = (...messages: ReturnType<typeof placed>[]) =>
  fixture.database.db.transaction((tx) => outbox.publish(tx, ...messages));
const waiting = async () =>
  Number((await fixture.database.sql<{ n: number }[]>`SELECT count(*)::int AS n FROM outbox`)[0]?.n);
const emptied = (ms?: number) => eventually(async () => expect(await waiting()).toBe(0), ms);

/** Numbers of each key in the order in which they first arrived. */
function firstAppearances(arrived: CloudEvent[]): Map<string, number[]> {
  const seen = new Set<string>();
  const keys = new Map<string, number[]>();
  for (const event of arrived) {
    if (seen.has(event.id)) continue;
    seen.add(event.id);
    const numbers = keys.get(event.partitionkey) ?? [];
    numbers.push(Number(event.sequence));
    keys.set(event.partitionkey, numbers);
  }
  return keys;
}

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
    let commit = () => {};
    const held = new Promise<void>((resolve) => {
      commit = resolve;
    });
    const late = fixture.database.db.transaction(async (tx) => {
      await outbox.publish(tx, placed('late', 1));
      await held;
    });
    await pause(30);
    for (let i = 0; i < 5; i++) await write(placed(inSlotOf('late'), i));
    relay.nudge();
    await emptied();
    expect(broker.arrived).toHaveLength(5);
    commit();
    await late;
    const committed = performance.now();
    await eventually(() => expect(broker.arrived).toHaveLength(6));
    expect(performance.now() - committed).toBeLessThan(1500);
  });

  test('and a later message of the same key waits for it', async () => {
    const broker = recorder();
    const relay = await start(broker.publish);
    let commit = () => {};
    const held = new Promise<void>((resolve) => {
      commit = resolve;
    });
    const late = fixture.database.db.transaction(async (tx) => {
      await outbox.publish(tx, placed('k', 1));
      await held;
    });
    await pause(30);
    await write(placed(inSlotOf('k'), 1));
    relay.nudge();
    await eventually(() => expect(broker.arrived).toHaveLength(1));
    const next = write(placed('k', 2)); // waits for the counter
    commit();
    await Promise.all([late, next]);
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
  /** Many keys, slow publishes, three relays. */
  async function threeRelays() {
    const broker = recorder(() => pause(3));
    await write(...Array.from({ length: 240 }, (_, i) => placed(`k${i % 12}`, i)));
    for (let i = 0; i < 3; i++) await start(broker.publish, { pollMs: 20 });
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

  test('a commit beside a relay that does not own its slot reaches the owner long before its next poll', async () => {
    const broker = recorder();
    await start(broker.publish, { pollMs: 2000, applicationName: 'first' });
    const other = await start(broker.publish, { pollMs: 2000, applicationName: 'second' });
    const owned = async () => [...((await ownership()).get('first-relay') ?? [])];
    await eventually(async () => expect(await owned()).toHaveLength(8));
    await pause(100);
    const theirs = new Set(await owned());
    const key = Array.from({ length: 100 }, (_, i) => `k${i}`).find((k) => theirs.has(slotOf(k))) ?? '';
    const began = performance.now();
    await write(placed(key, 1));
    other.nudge();
    await eventually(() => expect(broker.arrived).toHaveLength(1));
    expect(performance.now() - began).toBeLessThan(500);
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

  test('ids that are taken in advance are refused at the start', async () => {
    const { admin } = fixture;
    await admin`ALTER TABLE outbox ALTER COLUMN id SET CACHE 20`;
    await expect(start(async () => {})).rejects.toThrow(OutboxSetupError);
    await admin`ALTER TABLE outbox ALTER COLUMN id SET CACHE 1`;
  });

  test('a missing outbox is refused at the start', async () => {
    const { admin } = fixture;
    await admin`ALTER TABLE outbox RENAME TO elsewhere`;
    await expect(start(async () => {})).rejects.toThrow('run the migrations');
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
