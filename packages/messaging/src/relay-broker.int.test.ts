import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { jetstream } from '@nats-io/jetstream';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createConsumer } from './consumer.ts';
import type { CloudEvent } from './envelope.ts';
import { catalog, eventually, type Fixture, openFixture, outbox, pause, placed } from './fixture.ts';
import { type FixtureBroker, openBroker } from './fixture-broker.ts';
import { connectBroker, publishTo } from './fixture-nats.ts';
import { on } from './handler.ts';
import { createRelay } from './relay.ts';

let fixture: Fixture;
let broker: FixtureBroker;

beforeAll(async () => {
  [fixture, broker] = await Promise.all([openFixture('relay_broker'), openBroker(process.env, ['orders'])]);
});
beforeEach(() => fixture.clear());
afterAll(async () => {
  await broker?.close();
  await fixture?.close();
});

const waiting = async () =>
  Number((await fixture.admin<{ n: number }[]>`SELECT count(*)::int AS n FROM outbox`)[0]?.n);

/** Writes until told to stop, to `keys` keys of its own; returns how many messages it wrote. */
function writer(prefix: string, keys: number) {
  let on = true;
  let n = 0;
  const written = (async () => {
    while (on) {
      const batch = Array.from({ length: 3 }, () => placed(`${prefix}${n % keys}`, n++));
      await fixture.database.db.transaction((tx) => outbox.publish(tx, ...batch));
      await pause(10);
    }
    return n;
  })();
  return {
    stop() {
      on = false;
      return written;
    },
  };
}

/** What must hold of a stream, however often a message was published. */
function expectFirstAppearancesInOrder(events: CloudEvent[], written: number): void {
  const next = new Map<string, number>();
  const seen = new Set<string>();
  for (const event of events) {
    if (seen.has(event.id)) continue;
    seen.add(event.id);
    const number = (next.get(event.partitionkey) ?? 0) + 1;
    expect(Number(event.sequence), `${event.partitionkey} in the stream`).toBe(number);
    next.set(event.partitionkey, number);
  }
  expect(seen.size, 'messages in the stream').toBe(written);
}

interface RelayProcess {
  name: string;
  child: ChildProcess;
}

async function startRelayProcess(name: string, idleSessionTimeoutMs: number): Promise<RelayProcess> {
  const entry = fileURLToPath(new URL('./fixture-relay.ts', import.meta.url));
  const args = ['--import', 'tsx', entry, name, fixture.urls.url, broker.url, String(idleSessionTimeoutMs)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit').then(([code]) => Promise.reject(new Error(`${name} ended with ${code}`)));
  await Promise.race([once(child.stdout, 'data'), ended]); // it says "ready"
  ended.catch(() => {});
  return { name, child };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGCONT');
  child.kill('SIGTERM');
  await ended;
}

/** How many slots each of the processes owns. */
async function shares(): Promise<Map<string, number>> {
  const rows = await fixture.admin<{ name: string; n: number }[]>`
    SELECT replace(application_name, '-relay', '') AS name, count(*)::int AS n
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND classid = 7001 AND granted AND datname = current_database() GROUP BY 1`;
  return new Map(rows.map(({ name, n }) => [name, n]));
}

const levels = async () => [...(await shares()).values()].sort();

test('three relay processes, one frozen longer than its session may be silent and one killed: slots move on, nothing is lost or applied twice', async () => {
  const timeoutMs = 1000;
  const processes = await Promise.all(['r1', 'r2', 'r3'].map((name) => startRelayProcess(name, timeoutMs)));
  try {
    const load = writer('f', 25);
    for (const victim of processes.slice(0, 2)) {
      await eventually(async () => expect(await levels()).toEqual([5, 5, 6]));
      await pause(300);
      victim.child.kill('SIGSTOP');
      const stoppedAt = performance.now();
      await eventually(async () => {
        expect((await shares()).has(victim.name)).toBe(false);
        expect(await levels()).toEqual([8, 8]);
      });
      expect(performance.now() - stoppedAt).toBeLessThan(timeoutMs + 5000);
      await pause(500); // the new owners work, the frozen one still believes that it owns
      victim.child.kill('SIGCONT');
      await pause(500);
    }
    const [, , third] = processes as [RelayProcess, RelayProcess, RelayProcess];
    third.child.kill('SIGKILL');
    await eventually(async () => expect(await levels()).toEqual([8, 8]));
    await pause(300);
    const written = await load.stop();
    await eventually(async () => expect(await waiting()).toBe(0), 20_000);
    const events = await broker.messages('orders');
    expectFirstAppearancesInOrder(events, written);
    await expectAppliedOnce(events, written);
  } finally {
    await Promise.all(processes.map(({ child }) => end(child)));
  }
});

/** Delivers everything, four lanes at once and some of it a second time, and looks at the effect. */
async function expectAppliedOnce(events: CloudEvent[], written: number): Promise<void> {
  const deps = testDeps('inventory');
  const handler = on(catalog.Placed.schema, async (tx, { data }) => {
    await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`);
  });
  const consumer = createConsumer({
    ...deps,
    database: fixture.database,
    topics: { orders: { kind: 'fact', handlers: { Placed: handler } } },
  });
  const deliveries = [...events, ...events.slice(-200)];
  const lanes = [0, 1, 2, 3].map(async (lane) => {
    for (const event of deliveries.filter((_, i) => i % 4 === lane)) {
      const answer = await consumer.receive('orders', new TextEncoder().encode(JSON.stringify(event)), {});
      expect(answer).toBe('done');
    }
  });
  await Promise.all(lanes);
  const [effect] =
    await fixture.admin`SELECT count(*)::int AS rows, count(DISTINCT n)::int AS distinct FROM effect`;
  expect(effect).toEqual({ rows: written, distinct: written });
}

test('a broker that is killed in the middle and starts again on its data has every message, in order', async () => {
  const connection = await connectBroker(broker.url);
  const relay = createRelay({
    ...testDeps('orders'),
    url: fixture.urls.url,
    publish: publishTo(jetstream(connection)),
    pollMs: 50,
  });
  const before = (await broker.messages('orders')).length;
  await relay.start();
  try {
    const load = writer('b', 25);
    for (let round = 0; round < 2; round++) {
      await pause(600);
      await broker.kill();
      await pause(400);
      await broker.start();
    }
    await pause(300);
    const written = await load.stop();
    await eventually(async () => expect(await waiting()).toBe(0), 20_000);
    expectFirstAppearancesInOrder((await broker.messages('orders')).slice(before), written);
  } finally {
    await relay.stop();
    await connection.close();
  }
});
