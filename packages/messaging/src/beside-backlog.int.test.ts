import { connectDatabase } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { CloudEvent } from './envelope.ts';
import {
  catalog,
  eventually,
  type Fixture,
  openFixture,
  openTransaction,
  outbox,
  pause,
  placed,
  remind,
} from './fixture.ts';
import { behind, fillLong, HEADERS, LONG, slot } from './fixture-long-key.ts';
import type { Queue } from './floors.ts';
import { on } from './handler.ts';
import { createLocalWorker } from './local-worker.ts';
import { createRelay } from './relay.ts';
import { slotOf } from './slot.ts';

// A backlog that takes seconds, and beside it what must not wait for its end. Counted by what of the backlog went first, not by time.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('besidebacklog');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

const BACKLOG = 30_000;
const WAIT_MS = 30_000;

/** So many keys, all of that slot or of none of its others. */
function keysOf(prefix: string, count: number, where: (of: number) => boolean): string[] {
  const found: string[] = [];
  for (let i = 0; found.length < count; i++) if (where(slotOf(`${prefix}${i}`))) found.push(`${prefix}${i}`);
  return found;
}
const inSlot = (of: number) => of === slot;
const elsewhere = (of: number) => of !== slot;

/** The first message of each key. */
async function fillKeys(queue: Queue, keys: string[], topic = 'orders'): Promise<void> {
  const [column, value] = queue === 'outbox' ? [', topic', `, '${topic}'`] : ['', ''];
  const rows = JSON.stringify(keys.map((key) => ({ key, slot: slotOf(key) })));
  await fixture.admin.unsafe(
    `INSERT INTO ${queue} (slot, msg_key, event_id, key_seq, type, payload, headers${column})
     SELECT slot, key, gen_random_uuid(), 1, '${queue === 'outbox' ? 'Placed' : 'Remind'}', json_build_object('key', key, 'n', 1),
       '${HEADERS}'${value}
     FROM json_to_recordset($1::text::json) AS k (slot smallint, key text)`,
    [rows],
  );
}

async function relayed(
  publish: (topic: string, event: CloudEvent) => Promise<void>,
  meanwhile: () => Promise<void>,
): Promise<void> {
  const relay = createRelay({ ...testDeps('orders'), url: fixture.urls.url, service: 'orders', publish });
  await relay.start();
  try {
    await meanwhile();
  } finally {
    await relay.stop();
  }
}

test('a relay finds what was committed late while a backlog drains behind a key that fails', async () => {
  const late = keysOf('late', 1, inSlot)[0] as string;
  const commit = await openTransaction(fixture.database, (tx) => outbox.publish(tx, placed(late, 1)));
  await fillLong(fixture, 'outbox', 'Placed');
  await fillKeys('outbox', keysOf('b', BACKLOG, inSlot));
  let [others, before] = [0, -1];
  const publish = async (_topic: string, { partitionkey }: CloudEvent) => {
    if (partitionkey === 'long') throw new Error('no');
    if (partitionkey === late) before = others;
    else others += 1;
    await pause(2);
  };
  await relayed(publish, async () => {
    await eventually(() => expect(others).toBeGreaterThan(500), WAIT_MS);
    await commit();
    await eventually(() => expect(before).toBeGreaterThan(0), WAIT_MS);
  });
  expect(before).toBeLessThan((2 * BACKLOG) / 3);
});

test('a local worker tries a failing key again, and finds what is committed late or released, while a backlog drains behind a dead letter', async () => {
  const [late, bad] = [keysOf('late', 1, inSlot)[0] as string, keysOf('bad', 1, inSlot)[0] as string];
  const commit = await openTransaction(fixture.database, (tx) => outbox.send(tx, remind(late, 1)));
  await fillLong(fixture, 'outbox_local', 'Remind');
  await fixture.admin`
    INSERT INTO dead_letter (topic, event_id, type, msg_key, body, headers, reason, detail, attempts, holds_key)
    VALUES ('self', 'e', 'Remind', 'long', '', '{}', 'invariant', 'never', 1, true)`;
  await fillKeys('outbox_local', [bad, ...keysOf('b', BACKLOG, inSlot)]);
  let [others, tries] = [0, 0];
  const before = new Map<string, number>();
  const handler = on(catalog.Remind.schema, async (_tx, { key }) => {
    if (key === bad) {
      tries += 1;
      if (tries <= 2) throw new Error('twice');
    }
    if ([bad, late, 'long'].includes(key)) before.set(key, before.get(key) ?? others);
    else others += 1;
    if (others % 4 === 0) await pause(1);
  });
  const database = connectDatabase({ url: fixture.urls.url, applicationName: 'worker' });
  const worker = createLocalWorker({
    ...testDeps('orders'),
    service: 'orders',
    database,
    handlers: { Remind: handler },
  });
  await worker.start();
  try {
    await eventually(() => expect(others).toBeGreaterThan(500), WAIT_MS);
    await commit();
    await fixture.admin`UPDATE dead_letter SET state = 'discarded'`;
    await eventually(() => expect([...before.keys()].sort()).toEqual([bad, late, 'long']), WAIT_MS);
  } finally {
    await worker.stop();
    await database.close();
  }
  expect(Math.max(...before.values())).toBeLessThan((2 * BACKLOG) / 3);
});

test('a relay passes a long key while memory is full of what other slots have', async () => {
  await fillLong(fixture, 'outbox', 'Placed', 20 * LONG);
  await fixture.admin`UPDATE outbox SET key_seq = 1 WHERE msg_key = ${behind}`;
  await fillKeys('outbox', keysOf('b', BACKLOG, elsewhere));
  await fixture.admin`ANALYZE outbox`;
  let [others, before] = [0, -1];
  const publish = async (_topic: string, { partitionkey }: CloudEvent) => {
    if (partitionkey === behind) before = others;
    else if (partitionkey !== 'long') others += 1;
    await pause(2);
  };
  await relayed(publish, () => eventually(() => expect(before).toBeGreaterThan(0), WAIT_MS));
  expect(before).toBeLessThan((2 * BACKLOG) / 3);
});

test('a topic that is down and back again and again does not hold up another one', async () => {
  let command = false;
  let attempts = 0;
  const publish = async (topic: string) => {
    if (topic === 'products') throw new Error('never');
    if (topic === 'commands.inventory') {
      command = true;
      return;
    }
    attempts += 1;
    await pause(2);
    if (attempts % 5 > 0) throw new Error('four of five');
  };
  const keys = keysOf('b', 20_000, elsewhere);
  const feed = () => fillKeys('outbox', keys.splice(0, 44));
  let feeding = feed();
  const timer = setInterval(() => {
    feeding = feeding.then(feed);
  }, 120);
  try {
    await relayed(publish, async () => {
      await eventually(() => expect(attempts).toBeGreaterThan(1000), WAIT_MS);
      await fillLong(fixture, 'outbox', 'Placed', 10 * LONG);
      await fixture.admin`
        UPDATE outbox SET topic = CASE WHEN msg_key = ${behind} THEN 'commands.inventory' ELSE 'products' END WHERE slot = ${slot}`;
      await eventually(() => expect(command).toBe(true), 10_000);
    });
  } finally {
    clearInterval(timer);
    await feeding;
  }
});
