import { connectDatabase } from '@sidecart/kit/db';
import type { Worker } from '@sidecart/kit/service';
import { testDeps } from '@sidecart/kit/testing';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { catalog, eventually, type Fixture, openFixture, outbox, pause, placed, remind } from './fixture.ts';
import { on } from './handler.ts';
import { createLocalWorker } from './local-worker.ts';
import { LOCKS } from './lock-classes.ts';
import { createRelay } from './relay.ts';

// One more replica means more throughput, with the settings that every replica has. Each call takes so long that the replicas wait for
// the calls, and not for this machine.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('more_replicas');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

const CALL_MS = 80;

/** How many slots each replica owns. */
async function shares(lock: number): Promise<number[]> {
  const rows = await fixture.admin<{ slots: number }[]>`
    SELECT count(*)::int AS slots FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND classid = ${lock} AND granted AND datname = current_database() GROUP BY pid`;
  return rows.map(({ slots }) => slots);
}

/**
 * How many times as many messages two replicas handle as one, in the same time, from a backlog.
 *
 * @param count of the messages that are timed
 */
async function gain(o: {
  lock: number;
  count: number;
  handled: () => number;
  waiting: () => Promise<number>;
  replica: (name: string) => Promise<Worker>;
}): Promise<number> {
  const begin = async (name: string) => {
    const replica = await o.replica(name);
    onTestFinished(() => replica.stop());
    await replica.start();
  };
  const secondsFor = async (count: number) => {
    const [from, began] = [o.handled(), performance.now()];
    await eventually(() => expect(o.handled()).toBeGreaterThanOrEqual(from + count), 30_000);
    return (performance.now() - began) / 1000;
  };
  await begin('first');
  await eventually(() => expect(o.handled()).toBeGreaterThan(0));
  const alone = await secondsFor(o.count);
  await begin('second');
  await eventually(async () => expect(await shares(o.lock)).toEqual([8, 8]));
  const together = await secondsFor(o.count);
  expect(await o.waiting(), 'messages left, or there was not enough to do').toBeGreaterThan(0);
  return alone / together;
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
const rowsOf = async (table: 'outbox' | 'outbox_local') =>
  Number((await fixture.admin.unsafe(`SELECT count(*)::int AS n FROM ${table}`))[0]?.n);

test('two relays publish at least one and a half times as much as one', async () => {
  await fixture.database.db.transaction((tx) =>
    outbox.publish(tx, ...numbers(3000).map((n) => placed(`k${n}`, n))),
  );
  let handled = 0;
  const found = await gain({
    ...{ lock: LOCKS.relaySlot, count: 400, handled: () => handled },
    waiting: () => rowsOf('outbox'),
    replica: async (name) =>
      createRelay({
        ...testDeps('orders'),
        url: fixture.urls.url,
        applicationName: name,
        async publish() {
          await pause(CALL_MS);
          handled += 1;
        },
      }),
  });
  expect(found).toBeGreaterThan(1.5);
});

test('two local workers handle at least one and a half times as much as one', async () => {
  await fixture.database.db.transaction((tx) =>
    outbox.send(tx, ...numbers(1000).map((n) => remind(`k${n}`, n))),
  );
  let handled = 0;
  const Remind = on(catalog.Remind.schema, async () => {
    await pause(CALL_MS);
    handled += 1;
  });
  const found = await gain({
    ...{ lock: LOCKS.localSlot, count: 100, handled: () => handled },
    waiting: () => rowsOf('outbox_local'),
    async replica(name) {
      const database = connectDatabase({ url: fixture.urls.url, applicationName: name });
      onTestFinished(() => database.close());
      return createLocalWorker({ ...testDeps('orders'), database, handlers: { Remind } });
    },
  });
  expect(found).toBeGreaterThan(1.5);
});
