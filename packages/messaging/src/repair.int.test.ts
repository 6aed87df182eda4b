import { createApp } from '@sidecart/kit/app';
import type { Dapr, InvokeRequest } from '@sidecart/kit/dapr';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { ownPostgres } from '../../../tests/own-postgres.ts';
import { createConsumer } from './consumer.ts';
import { PermanentError } from './failures.ts';
import { eventually, type Fixture, openFixture, outbox, pause, placed } from './fixture.ts';
import { on } from './handler.ts';
import { createRepair } from './repair.ts';
import { overdue, takeCursor } from './repair-state.ts';
import { mountSent } from './sent-routes.ts';

// Sender and receiver with a database each. The call between them goes straight to the sender's app here; through two
// sidecars it goes in the end-to-end tests.

let sender: Fixture;
let receiver: Fixture;
beforeAll(async () => {
  sender = await openFixture('repair_sender');
  receiver = await openFixture('repair_receiver');
});
beforeEach(async () => {
  await sender.clear();
  await receiver.clear();
  await receiver.admin`TRUNCATE repair_cursor, repair_missing`;
});
afterAll(async () => {
  await sender?.close();
  await receiver?.close();
});

const EDGE = { topic: 'orders', sender: 'orders' };

/** What the relay does once the broker has acknowledged, without a broker: it acknowledged, and lost them. */
async function acknowledged(db: Pick<Fixture['admin'], 'unsafe'> = sender.admin): Promise<void> {
  await db.unsafe(`WITH gone AS (DELETE FROM outbox RETURNING id, topic, msg_key, event_id, key_seq, type, payload, headers)
    INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers) SELECT * FROM gone`);
}

async function send(key: string, ...numbers: number[]): Promise<void> {
  await sender.database.db.transaction((tx) => outbox.publish(tx, ...numbers.map((n) => placed(key, n))));
}

function open(
  o: {
    /** The type that the service has a handler for; default what is sent. */
    handles?: string;
    ordered?: boolean;
    intervalMs?: number;
    graceMs?: number;
    lostMs?: number;
    fails?: (n: number) => boolean;
    setAsideMs?: number;
    refuses?: (n: number) => boolean;
    edges?: (typeof EDGE)[];
    /** What a handler does first. */
    handling?: () => Promise<void>;
    /** What happens between the answer to a question for messages of a key and what is done with it. */
    answered?: () => Promise<void>;
    /** Whether there is an answer to a question for messages by these ids. */
    answers?: (ids: string[]) => boolean;
    /** And to one for messages of this key. */
    answersFor?: (key: string) => boolean;
  } = {},
) {
  const edges = o.edges ?? [EDGE];
  const from = createApp(testDeps('orders'));
  mountSent(from, { service: 'orders', database: sender.database });
  const asked: unknown[] = [];
  const dapr: Pick<Dapr, 'invoke'> = {
    async invoke(_app: string, { method, path, body }: InvokeRequest) {
      asked.push(body);
      const { ids, key } = body as { ids?: string[]; key?: string };
      if (ids && o.answers?.(ids) === false) throw new Error('no answer');
      if (key && o.answersFor?.(key) === false) throw new Error('no answer');
      const answer = await callJson(from, method, path, body);
      if (key) await o.answered?.();
      return { ...answer, body: JSON.stringify(answer.body), json: () => answer.body };
    },
  };
  const deps = testDeps('inventory');
  const handlers = {
    [o.handles ?? 'Placed']: on(
      z.object({ n: z.int() }),
      async (tx, { data }) => {
        await o.handling?.();
        if (o.fails?.(data.n)) throw new Error('a bug');
        if (o.refuses?.(data.n)) throw new PermanentError('never');
        await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`);
      },
      { ordered: o.ordered ?? false },
    ),
  };
  const consumer = createConsumer({
    ...deps,
    database: receiver.database,
    sweepMs: 50,
    ...(o.setAsideMs !== undefined && { setAsideMs: o.setAsideMs }),
    topics: Object.fromEntries(edges.map(({ topic }) => [topic, { kind: 'fact' as const, handlers }])),
  });
  const repair = createRepair({
    ...deps,
    dapr,
    database: receiver.database,
    consumer,
    edges,
    intervalMs: o.intervalMs ?? 50,
    graceMs: o.graceMs ?? 100,
    lostMs: o.lostMs ?? 200,
  });
  onTestFinished(() => repair.stop());
  /** What was sent as number `n` of the key, to be delivered later. */
  const delivery = async (key: string, n: number) => {
    const question = { ask: 'key', key, from: String(n), to: String(n) };
    const { body } = await callJson(from, 'POST', '/sent/orders', question);
    return () => consumer.receive('orders', new TextEncoder().encode(JSON.stringify(body.messages[0])), {});
  };
  const deliver = async (key: string, n: number) => (await delivery(key, n))();
  return { ...deps, from, consumer, repair, asked, deliver, delivery };
}

const effects = async () => (await receiver.admin<{ n: number }[]>`SELECT n FROM effect`).map(({ n }) => n);
const sorted = async () => (await effects()).sort((a, b) => a - b);

describe('messages that the broker acknowledged and lost', () => {
  test('are fetched, also the last of its key and the only one there is', async () => {
    await send('a', 1, 2, 3);
    await send('b', 4);
    await acknowledged();
    const { repair, deliver, metrics } = open();
    await deliver('a', 1);
    await repair.start();
    await eventually(async () => expect(await sorted()).toEqual([1, 2, 3, 4]));
    await eventually(async () => expect(await receiver.admin`SELECT FROM repair_missing`).toHaveLength(0));
    expect(await metrics.registry.metrics()).toMatch(/sidecart_repair_fetched_total\{[^}]*\} 3/);
  });

  test('are fetched once, in whatever number of replicas, and also when they come after all', async () => {
    await send('a', ...Array.from({ length: 250 }, (_, i) => i));
    await acknowledged();
    const replicas = [open(), open(), open()];
    await Promise.all(replicas.map(({ repair }) => repair.start()));
    await eventually(async () => expect(await effects()).toHaveLength(250));
    await (replicas[0] as ReturnType<typeof open>).deliver('a', 7);
    expect(new Set(await effects()).size).toBe(250);
    expect(await effects()).toHaveLength(250);
  });

  test('of however many topics at once, are handled by two at a time: deliveries want some of the pool too', async () => {
    for (const key of ['a', 'b', 'c', 'd']) await send(key, 1, 2, 3, 4);
    await acknowledged();
    const topics = ['orders', 'products', 'payments'];
    for (const [i, topic] of topics.entries())
      await sender.admin`UPDATE sent SET topic = ${topic} WHERE id % 3 = ${i}`;
    let [working, most] = [0, 0];
    const { repair } = open({
      edges: topics.map((topic) => ({ topic, sender: topic })),
      async handling() {
        working += 1;
        most = Math.max(most, working);
        await pause(30);
        working -= 1;
      },
    });
    await repair.start();
    await eventually(async () => expect(await effects()).toHaveLength(16));
    expect(most).toBe(2);
  });

  test('come in order to a handler that asks for it', async () => {
    await send('a', 1, 2, 3, 4);
    await acknowledged();
    const { repair, deliver } = open({ ordered: true });
    await deliver('a', 3);
    await deliver('a', 4);
    expect(await effects()).toEqual([]);
    await repair.start();
    await eventually(async () => expect(await effects()).toEqual([1, 2, 3, 4]));
  });

  test('what is only late is left to the broker', async () => {
    const { repair, deliver, asked } = open({ graceMs: 10_000 });
    await send('a', 1);
    await acknowledged();
    await repair.start();
    await eventually(async () => expect(await receiver.admin`SELECT FROM repair_missing`).toHaveLength(1));
    await deliver('a', 1);
    await eventually(async () => expect(await receiver.admin`SELECT FROM repair_missing`).toHaveLength(0));
    expect(asked.filter((body) => (body as { ask: string }).ask === 'messages')).toEqual([]);
  });
});

test('a topic of which all is fetched and nothing delivered shows, until the broker delivers again', async () => {
  const { repair, deliver, health, metrics } = open();
  const shown = async () => [
    health.details().components.subscriptions?.status,
    /sidecart_subscription_up\{topic="orders"[^}]*\} (\d)/.exec(await metrics.registry.metrics())?.[1],
  ];
  await repair.start();
  await eventually(async () => expect(await shown()).toEqual(['ok', '1']));
  for (let n = 1; n < 10 && (await shown())[0] === 'ok'; n += 1) {
    await send('a', n);
    await acknowledged();
    await eventually(async () => expect(await effects()).toHaveLength(n));
    await pause(200); // the grace: what is fetched within it may be one loss
  }
  await eventually(async () => expect(await shown()).toEqual(['degraded', '0']));
  await deliver('a', 1);
  await eventually(async () => expect(await shown()).toEqual(['ok', '1']));
});

/** A message as it is delivered, of which its sender need not know. */
const unnoted = (key: string, seq: number, n = seq) =>
  JSON.stringify({
    ...{ specversion: '1.0', id: `${key}${seq}`, source: '/sidecart/orders', type: 'Placed' },
    ...{ partitionkey: key, sequence: String(seq), data: { n } },
  });

describe('what is not lost is not given up', () => {
  const receive = (consumer: ReturnType<typeof open>['consumer'], key: string, n: number) =>
    consumer.receive('orders', new TextEncoder().encode(unnoted(key, n)), {});

  test('a message that its sender has not sent yet', async () => {
    await send('k', 1, 2);
    const { consumer, repair } = open({ ordered: true });
    await receive(consumer, 'k', 2);
    await repair.start();
    await pause(700);
    expect(await effects()).toEqual([]);
    await receive(consumer, 'k', 1);
    await eventually(async () => expect(await effects()).toEqual([1, 2]));
    expect(await receiver.admin`SELECT FROM dead_letter`).toHaveLength(0);
  });

  test('one that comes after it was: its dead letter is no more', async () => {
    await send('k', 1, 2, 3);
    await sender.admin`TRUNCATE outbox`; // sent by a version that kept nothing
    const { consumer, repair } = open({ ordered: true });
    for (const n of [1, 3]) await receive(consumer, 'k', n);
    await repair.start();
    await eventually(async () =>
      expect(await receiver.admin`SELECT state FROM dead_letter`).toEqual([{ state: 'waiting' }]),
    );
    await receive(consumer, 'k', 2);
    await eventually(async () => expect(await effects()).toEqual([1, 2, 3]));
    await eventually(async () =>
      expect(await receiver.admin`SELECT state FROM dead_letter`).toEqual([{ state: 'redriven' }]),
    );
  });

  test('one behind a hundred that cannot be handled', async () => {
    await send('bad', ...Array.from({ length: 100 }, (_, i) => i + 1000));
    await send('lost', 1);
    await acknowledged();
    const { repair } = open({ fails: (n) => n >= 1000 });
    await repair.start();
    await eventually(async () => expect(await effects()).toEqual([1]), 20_000);
  });
});

describe('an answer that does not come', () => {
  test('for many is asked for fewer', async () => {
    await send('a', ...numbers(0, 150));
    await acknowledged();
    const { repair, health } = open({ answers: (ids) => ids.length <= 10 });
    await repair.start();
    await eventually(async () => expect(await effects()).toHaveLength(150));
    expect(health.details().components.repair?.status).not.toBe('degraded');
  });

  test('for one message holds up none of the others, and shows', async () => {
    await send('a', ...numbers(0, 150));
    await acknowledged();
    const [first] = await sender.admin<{ id: string }[]>`SELECT min(id)::text AS id FROM sent`;
    const { repair, health } = open({ answers: (ids) => !ids.includes(first?.id ?? '') });
    await repair.start();
    await eventually(async () => expect(await sorted()).toEqual(numbers(1, 149)), 10_000);
    await eventually(() => expect(health.details().components.repair?.status).toBe('degraded'));
  });

  test('is no wider than a sidecar takes: bytes count, not characters', async () => {
    await sender.admin`
      INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers)
      SELECT n, 'orders', 'k', gen_random_uuid(), n, 'Placed', json_build_object('n', n, 'text', repeat('\u6f22', 19000)), '{}'
      FROM generate_series(1, 100) AS n`;
    const question = { ask: 'messages', ids: numbers(1, 100).map(String) };
    const { body } = await callJson(open().from, 'POST', '/sent/orders', question);
    expect(body.messages.length).toBeGreaterThan(20);
    expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThan(2_200_000);
  });
});

describe('a replica that compares', () => {
  const left = async () => {
    const [row] = await receiver.admin<{ left: number }[]>`
      SELECT extract(epoch FROM lease_until - clock_timestamp())::float8 AS left FROM repair_cursor`;
    return row?.left ?? 0;
  };

  test('and dies keeps the others from it for 15 s', async () => {
    expect(await takeCursor(receiver.database, EDGE)).toBeDefined();
    await receiver.admin`UPDATE repair_cursor SET lease_until = lease_until - interval '14 seconds'`;
    expect(await takeCursor(receiver.database, EDGE)).toBeUndefined();
    await receiver.admin`UPDATE repair_cursor SET lease_until = lease_until - interval '1 second'`;
    expect(await takeCursor(receiver.database, EDGE)).toBeDefined();
  });

  test('has the edge to itself as long as it hands over what it fetched', async () => {
    await send('a', ...numbers(0, 12));
    await acknowledged();
    const { repair } = open({ handling: () => pause(400) });
    await repair.start();
    await eventually(async () => expect(await effects()).not.toHaveLength(0));
    for (const end = performance.now() + 3500; performance.now() < end; await pause(100))
      expect(await left()).toBeGreaterThan(12);
    await eventually(async () => expect(await effects()).toHaveLength(12));
  });
});

const numbers = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);
/** What the sender was asked, in order. */
const questions = (asked: unknown[]) => asked.map((body) => (body as { ask: string }).ask).join();

/** Sends a message every 20 ms, until the end of the test, and has `deliver` do what the broker does then. */
function traffic(deliver: (key: string) => Promise<unknown>): void {
  let going = true;
  const ended = (async () => {
    for (let n = 10_000; going; n += 1) {
      await send(`t${n}`, n);
      await acknowledged();
      await deliver(`t${n}`);
      await pause(20);
    }
  })();
  onTestFinished(async () => {
    going = false;
    await ended;
  });
}

describe('while the broker delivers', () => {
  test('all that it lost before is fetched at once, however much it is', async () => {
    const { repair, deliver, asked, metrics } = open({ intervalMs: 3000, graceMs: 500 });
    traffic((key) => deliver(key, 1));
    await repair.start();
    await eventually(async () => expect((await effects()).length).toBeGreaterThan(5));
    await send('lost', ...numbers(0, 1500));
    await acknowledged();
    const lostOnes = async () => (await effects()).filter((n) => n < 10_000).length;
    await eventually(async () => {
      expect(await metrics.registry.metrics()).toMatch(/sidecart_repair_missing\{[^}]*\} 15\d\d/);
    }, 10_000);
    // 100 in each round would take 45 seconds.
    await eventually(async () => expect(await lostOnes()).toBe(1500), 30_000);
    expect(questions(asked)).toContain('messages,messages');
    await eventually(async () =>
      expect(await metrics.registry.metrics()).toMatch(/sidecart_repair_missing\{[^}]*\} 0/),
    );
  });

  test('control: a backlog that it works off from the oldest on is left to it, but for a batch in each round', async () => {
    await send('backlog', ...numbers(0, 700));
    await acknowledged();
    const { repair, deliver, consumer, asked } = open({ intervalMs: 300 });
    let next = 1;
    traffic(() => deliver('backlog', next++));
    await repair.start();
    await pause(1000);
    // Compared anew, it tells what came long ago: that has overtaken nothing.
    await receiver.admin`UPDATE repair_cursor SET since = '7.1/5:5:'`;
    await pause(1500);
    expect(consumer.lastDelivery('orders')).toBeGreaterThan(performance.now() - 1000);
    expect(questions(asked)).toContain('messages');
    expect(questions(asked)).not.toContain('messages,messages');
  });
});

test('a message that was set aside and holds its key is no gap, though its sender has it no more', async () => {
  const failing = new Set([1]);
  const { repair, consumer, deliver, asked } = open({
    ordered: true,
    fails: (n) => failing.has(n),
    setAsideMs: 0,
  });
  await send('k', 1, 2);
  await acknowledged();
  for (const answer of ['retry', 'done']) expect(await deliver('k', 1)).toBe(answer);
  await deliver('k', 2);
  await sender.admin`TRUNCATE sent`;
  await repair.start();
  await pause(700); // a gap is over after 200 ms here
  expect(asked.map((question) => (question as { ask: string }).ask)).not.toContain('key');
  expect(await receiver.admin`SELECT FROM dead_letter`).toHaveLength(0);
  failing.clear();
  await consumer.worker.start();
  onTestFinished(consumer.worker.stop);
  await eventually(async () => expect(await effects()).toEqual([1, 2]));
});

test('nor is one that was set aside while nobody wanted the order, before or between others that wait', async () => {
  const before = open({ fails: (n) => n === 1 || n === 3, setAsideMs: 0 });
  await send('k', 1, 2, 3, 4);
  await acknowledged();
  for (const n of [1, 3])
    for (const answer of ['retry', 'done']) expect(await before.deliver('k', n)).toBe(answer);
  const { repair, consumer, deliver } = open({ ordered: true });
  await deliver('k', 4);
  await sender.admin`TRUNCATE sent`;
  await repair.start();
  await pause(700);
  expect(await receiver.admin`SELECT FROM dead_letter`).toHaveLength(0);
  await consumer.worker.start();
  onTestFinished(consumer.worker.stop);
  // Now the second is missing for good: it alone is.
  await eventually(async () =>
    expect(await receiver.admin`SELECT key_seq::int AS seq FROM dead_letter`).toEqual([{ seq: 2 }]),
  );
  await receiver.admin`UPDATE dead_letter SET state = 'discarded'`;
  await receiver.admin`UPDATE inbox_key SET last_seq = 2`;
  await eventually(async () => expect(await effects()).toEqual([1, 3, 4]));
});

test('a key whose beginning is gone begins with what was set aside, not behind it', async () => {
  const before = open({ fails: (n) => n === 2, setAsideMs: 0 });
  await send('k', 1, 2, 3);
  await acknowledged();
  for (const answer of ['retry', 'done']) expect(await before.deliver('k', 2)).toBe(answer);
  const { repair, consumer, deliver } = open({ ordered: true });
  await deliver('k', 3);
  await sender.admin`TRUNCATE sent`;
  await repair.start();
  await eventually(async () =>
    expect(await receiver.admin`SELECT last_seq::int AS last FROM inbox_key`).toEqual([{ last: 1 }]),
  );
  await pause(300);
  await consumer.worker.start();
  onTestFinished(consumer.worker.stop);
  await eventually(async () => expect(await effects()).toEqual([2, 3]));
  expect(await receiver.admin`SELECT FROM dead_letter`).toHaveLength(0);
});

test('a backlog behind messages that always fail is fetched until there is none left, though these are delivered all the while', async () => {
  await send('backlog', ...numbers(0, 700));
  await acknowledged();
  const { repair, consumer, deliver, asked } = open({ intervalMs: 3000, fails: (n) => n >= 10_000 });
  traffic((key) => deliver(key, 1));
  await repair.start();
  // 100 in each round would take 18 seconds.
  await eventually(async () => expect(await effects()).toHaveLength(700), 14_000);
  expect(consumer.lastDelivery('orders')).toBeGreaterThan(performance.now() - 1000);
  expect(questions(asked)).toContain('messages,messages');
});

describe('what is noted', () => {
  /** As the comparison notes it, all of it long ago. */
  const note = (count: number) => receiver.admin`
    INSERT INTO repair_missing (topic, event_id, sender, sent_id, noticed_at)
    SELECT 'orders', 'm' || n, 'orders', n, now() - interval '1 hour' FROM generate_series(1, ${count}::int) AS n`;

  test('is looked up in steps, whatever there is, and what came is forgotten', async () => {
    await note(7000);
    await receiver.admin`
      INSERT INTO inbox (topic, event_id, outcome) SELECT 'orders', 'm' || n, 'applied' FROM generate_series(1, 6000) AS n`;
    await receiver.admin.unsafe(`
      CREATE FUNCTION count_gone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
        'BEGIN INSERT INTO effect SELECT count(*) FROM gone; RETURN NULL; END';
      CREATE TRIGGER count_gone AFTER DELETE ON repair_missing REFERENCING OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION count_gone()`);
    try {
      const late = await overdue(receiver.database, EDGE, 1000, 100);
      expect(late.map(({ eventId }) => eventId)).toEqual(numbers(6001, 100).map((n) => `m${n}`));
      expect((await effects()).filter((n) => n > 0)).toEqual([2000, 2000, 2000]);
    } finally {
      await receiver.admin.unsafe('DROP TRIGGER count_gone ON repair_missing; DROP FUNCTION count_gone()');
    }
  });

  test('and cannot be read, when it is fetched, is a dead letter and asked for no more', async () => {
    await send('a', 1);
    await acknowledged();
    await sender.admin`UPDATE sent SET type = ''`;
    const { repair, asked } = open();
    await repair.start();
    await eventually(async () => expect(await receiver.admin`SELECT FROM dead_letter`).toHaveLength(1));
    await pause(300);
    expect(asked.filter((body) => (body as { ask: string }).ask === 'messages')).toHaveLength(1);
  });
});

describe('the comparison', () => {
  test('of a sender that was restored into another cluster is of all its rows, whatever transactions they are of', async () => {
    await send('a', 1);
    await acknowledged();
    await sender.admin`UPDATE sent SET xid = '99999999999'`;
    const { repair } = open();
    await repair.start();
    await eventually(async () => expect(await effects()).toEqual([1]));
  });

  test('offers nothing that an inbox may have forgotten', async () => {
    await send('a', 1, 2);
    await acknowledged();
    await sender.admin`UPDATE sent SET sent_at = now() - interval '9 days' WHERE key_seq = 1`;
    const { repair } = open();
    await repair.start();
    await eventually(async () => expect(await effects()).toEqual([2]));
    await pause(300);
    expect(await effects()).toEqual([2]);
  });

  test('nor does an answer for messages, by their ids or by their key', async () => {
    await send('a', 1, 2);
    await acknowledged();
    const rows = await sender.admin<{ id: string }[]>`SELECT id::text FROM sent ORDER BY key_seq`;
    const ids = rows.map(({ id }) => id);
    await sender.admin`UPDATE sent SET sent_at = now() - interval '9 days' WHERE key_seq = 1`;
    const { from } = open();
    const ask = async (question: object) => (await callJson(from, 'POST', '/sent/orders', question)).body;
    const second = [expect.objectContaining({ sequence: '2' })];
    expect(await ask({ ask: 'messages', ids })).toEqual({ messages: second, gone: [ids[0]] });
    const ofKey = await ask({ ask: 'key', key: 'a', from: '1', to: '2' });
    expect(ofKey).toEqual({ messages: second, first: '2', unsent: false });
  });

  test('misses nothing of what commits late, and is not held up by it', async () => {
    await send('a', 1);
    await send('b', 2);
    const { repair } = open();
    // The relay of one replica has written what it sent, and its commit takes long; another goes on.
    const slow = sender.admin.begin(async (tx) => {
      await tx.unsafe(`WITH gone AS (DELETE FROM outbox WHERE msg_key = 'a' RETURNING id, topic, msg_key, event_id, key_seq, type, payload, headers)
        INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers) SELECT * FROM gone`);
      await repair.start();
      await eventually(async () => expect(await effects()).toEqual([2]));
      await pause(200);
    });
    await sender.admin.unsafe(`WITH gone AS (DELETE FROM outbox WHERE msg_key = 'b' RETURNING id, topic, msg_key, event_id, key_seq, type, payload, headers)
      INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers) SELECT * FROM gone`);
    await slow;
    await eventually(async () => expect(await sorted()).toEqual([1, 2]));
  });

  test('of many goes page by page, and each id is told once', async () => {
    await sender.admin`
      INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers)
      SELECT n, 'orders', 'k' || n, gen_random_uuid(), 1, 'Placed', json_build_object('key', 'k', 'n', n),
        '{"time":"2026-01-01T00:00:00.000Z","correlationid":"c","actor":"a","traceparent":"t"}'
      FROM generate_series(1, 12000) AS n`;
    const { from } = open();
    const seen: string[] = [];
    let page = { after: '' as string | null, target: '' };
    for (let pages = 0; page.after !== null; pages += 1) {
      const goOn = pages === 0 ? {} : { target: page.target, after: page.after };
      const { body } = await callJson(from, 'POST', '/sent/orders', { ask: 'ids', ...goOn });
      seen.push(...body.ids.map(([id]: [string]) => id));
      page = body;
      expect(pages).toBeLessThan(4);
    }
    expect(seen).toEqual(Array.from({ length: 12_000 }, (_, i) => String(i + 1)));
    const { body } = await callJson(from, 'POST', '/sent/orders', { ask: 'ids', since: page.target });
    expect(body.ids).toEqual([]);
  });

  test('begins anew when the sender’s database is another one, and applies nothing twice', async () => {
    await send('a', 1);
    await acknowledged();
    const { repair } = open();
    await repair.start();
    await eventually(async () => expect(await effects()).toEqual([1]));
    await receiver.admin`UPDATE repair_cursor SET since = '7.1/5:5:'`;
    await send('a', 2);
    await acknowledged();
    await eventually(async () => expect(await sorted()).toEqual([1, 2]));
  });

  test('forgets what was missing of the database before, where its ids are those of other messages now', async () => {
    await send('a', 1);
    await acknowledged();
    const before = open({ answers: () => false });
    await before.repair.start();
    await eventually(async () => expect(await receiver.admin`SELECT FROM repair_missing`).toHaveLength(1));
    await before.repair.stop();
    await sender.admin`UPDATE sent SET event_id = gen_random_uuid(), payload = '{"key":"a","n":2}'`;
    await receiver.admin`UPDATE repair_cursor SET since = '7.1/5:5:'`;
    const { repair, asked } = open();
    await repair.start();
    await eventually(async () => expect(await effects()).toEqual([2]));
    await pause(500);
    expect(await receiver.admin`SELECT FROM repair_missing`).toHaveLength(0);
    expect(asked.filter((body) => (body as { ask: string }).ask === 'messages')).toHaveLength(1);
  });

  test('begins anew in the middle of its pages too', async () => {
    await send('a', 1);
    await acknowledged();
    const question = { ask: 'ids', target: '7.1/5:5:', after: '4:0' };
    const { body } = await callJson(open().from, 'POST', '/sent/orders', question);
    expect(body).toEqual({ ids: [], target: '', after: null, reset: true });
  });

  test('begins anew when a standby of the sender has taken over, which has other transactions by the same numbers', async (context) => {
    const { url, server } = await ownPostgres(context, { settings: { wal_level: 'replica' } });
    const restored = await openFixture('repair_standby', url);
    onTestFinished(restored.close);
    const { admin, database } = restored;
    const from = createApp(testDeps('orders'));
    mountSent(from, { service: 'orders', database });
    const ask = async (question: object) =>
      (await callJson(from, 'POST', '/sent/orders', { ask: 'ids', ...question })).body;
    const { target: since } = await ask({});
    expect(await ask({ since })).toMatchObject({ reset: false });
    const [row] = await admin<{ folder: string }[]>`SELECT current_setting('data_directory') AS folder`;
    await admin.unsafe(`COPY (SELECT) TO '${row?.folder}/standby.signal'`);
    // So much to write that the first checkpoint of the new life takes its time: it ends after the first answers.
    await admin.unsafe(`CREATE TABLE wide AS SELECT n, repeat('x', 1000) FROM generate_series(1, 5000) AS n`);
    const { restarts } = server;
    server.kill('SIGQUIT');
    await eventually(() => expect([server.restarts, server.state]).toEqual([restarts + 1, 'ready']), 30_000);
    await eventually(() => admin`SELECT pg_promote()`.then(() => {}));
    expect(await ask({ since })).toMatchObject({ reset: true });
    const { target } = await ask({});
    expect(await ask({ since: target })).toMatchObject({ reset: false });
  });

  test('a receiver restored from a backup gets what came since', async () => {
    await send('a', 1);
    await acknowledged();
    const before = open().repair;
    await before.start();
    await eventually(async () => expect(await effects()).toEqual([1]));
    // Between two rounds: a backup from within one has its lease, which the restored receiver would wait out.
    await before.stop();
    await receiver.admin`CREATE TABLE backup_inbox AS TABLE inbox`;
    await receiver.admin`CREATE TABLE backup_cursor AS TABLE repair_cursor`;
    await send('a', 2, 3);
    await acknowledged();
    const { repair } = open();
    await repair.start();
    await eventually(async () => expect(await sorted()).toEqual([1, 2, 3]));
    await repair.stop();
    await receiver.admin.begin(async (tx) => {
      await tx`LOCK TABLE inbox, repair_cursor, repair_missing, effect`;
      await tx`TRUNCATE inbox, repair_cursor, repair_missing, effect`;
      await tx`INSERT INTO inbox SELECT * FROM backup_inbox`;
      await tx`INSERT INTO repair_cursor SELECT * FROM backup_cursor`;
      await tx`INSERT INTO effect VALUES (1)`;
    });
    await open().repair.start();
    await eventually(async () => expect(await sorted()).toEqual([1, 2, 3]));
    await receiver.admin`DROP TABLE backup_inbox, backup_cursor`;
  });

  test('brings what was seen before there was a handler for it only once the inbox forgets that, as in docs/messages.md', async () => {
    await send('a', 1, 2);
    await acknowledged();
    const before = open({ handles: 'Other' });
    for (const n of [1, 2]) await before.deliver('a', n);
    const { repair, deliver } = open();
    await repair.start();
    expect(await deliver('a', 1)).toBe('done');
    await pause(400);
    expect(await effects()).toEqual([]);
    await receiver.admin`DELETE FROM inbox WHERE topic = 'orders' AND outcome = 'unhandled' AND received_at > now() - interval '2 hours'`;
    await eventually(async () => {
      const { count } = await receiver.admin`
        UPDATE repair_cursor SET since = NULL, target = NULL, after = NULL WHERE topic = 'orders' AND lease_until < now()`;
      expect(count).toBe(1);
    });
    await eventually(async () => expect(await sorted()).toEqual([1, 2]));
    expect(await deliver('a', 1)).toBe('done');
    expect(await sorted()).toEqual([1, 2]);
  });

  test('goes on at once after the clock of the database was set back by an hour', async () => {
    await send('a', 1, 2);
    await acknowledged();
    const { repair, deliver } = open({ ordered: true });
    await deliver('a', 2);
    // What was noted an hour from now, as it looks then.
    await receiver.admin`UPDATE inbox_parked SET parked_at = now() + interval '1 hour'`;
    await receiver.admin`
      INSERT INTO repair_cursor (topic, sender, lease_until) VALUES ('orders', 'orders', now() + interval '1 hour')
      ON CONFLICT (topic, sender) DO UPDATE SET lease_until = excluded.lease_until`;
    await receiver.admin`
      INSERT INTO repair_missing (topic, event_id, sender, sent_id, noticed_at)
      SELECT topic, event_id, 'orders', id, now() + interval '1 hour' FROM json_to_recordset(
        ${JSON.stringify([...(await sender.admin`SELECT topic, event_id, id::text FROM sent WHERE key_seq = 1`)])}::text::json)
        AS s (topic text, event_id text, id bigint)`;
    await repair.start();
    await eventually(async () => expect(await effects()).toEqual([1, 2]));
  });

  test('a sender that is away shows as degraded, and nothing else', async () => {
    const { repair, health } = open();
    await sender.admin`ALTER TABLE sent RENAME TO elsewhere`;
    try {
      await repair.start();
      await eventually(() => expect(health.details().components.repair?.status).toBe('degraded'));
    } finally {
      await sender.admin`ALTER TABLE elsewhere RENAME TO sent`;
    }
    await eventually(() => expect(health.details().components.repair?.status).toBe('ok'));
  });
});

describe('a key whose beginning its sender has no more', () => {
  test('begins with what there is, for a receiver that never heard of it', async () => {
    await send('a', 1, 2, 3, 4);
    await acknowledged();
    await sender.admin`DELETE FROM sent WHERE key_seq < 3`;
    const { repair } = open({ ordered: true });
    await repair.start();
    await eventually(async () => expect(await effects()).toEqual([3, 4]));
  });

  test('is a dead letter for one that did: somebody has to say that it may go on without', async () => {
    await send('a', 1, 2, 3);
    await acknowledged();
    const { repair, deliver } = open({ ordered: true });
    await deliver('a', 1);
    await deliver('a', 3);
    await sender.admin`DELETE FROM sent WHERE key_seq = 2`;
    await sender.admin`DELETE FROM sent WHERE key_seq = 1`;
    await repair.start();
    await eventually(async () =>
      expect(await receiver.admin`SELECT reason, key_seq::int AS seq FROM dead_letter`).toEqual([
        { reason: 'lost', seq: 2 },
      ]),
    );
    expect(await effects()).toEqual([1]);
  });
});

describe('what comes just when it is taken for lost', () => {
  /** Number 2 of four is on its way; of the others those came that are named. The sender has none of them any more. */
  async function meanwhile(came: number[]) {
    await send('a', 1, 2, 3, 4);
    await acknowledged();
    let second = async () => {};
    const opened = open({ ordered: true, answered: () => second() });
    const late = await opened.delivery('a', 2);
    for (const n of came) await opened.deliver('a', n);
    await sender.admin`DELETE FROM sent`;
    second = async () => {
      second = async () => {};
      await late();
    };
    await opened.repair.start();
    return opened;
  }
  const lost = async () =>
    (await receiver.admin<{ seq: number }[]>`SELECT key_seq::int AS seq FROM dead_letter`).map(
      ({ seq }) => seq,
    );

  test('is where its key begins, of which nothing was dealt with yet', async () => {
    await meanwhile([4]);
    await eventually(async () => expect([await effects(), await lost()]).toEqual([[2], [3]]));
  });

  test('is no dead letter', async () => {
    await meanwhile([1, 3]);
    await eventually(async () => expect(await effects()).toEqual([1, 2, 3]));
    await pause(300);
    expect(await lost()).toEqual([]);
  });
});

/** Number 2 of each key came so long ago, and waits for number 1, which its sender keeps no more; nothing of the keys was handled. */
async function waitInVain(keys: string[], seconds: number): Promise<void> {
  const rows = `SELECT key, n, md5(key)::uuid AS id, jsonb_build_object('specversion', '1.0', 'id', md5(key)::uuid, 'type', 'Placed',
      'source', '/sidecart/orders', 'partitionkey', key, 'sequence', '2', 'data', jsonb_build_object('n', n)) AS event
    FROM json_array_elements_text($1::text::json) WITH ORDINALITY AS k (key, n)`;
  const given = JSON.stringify(keys);
  await sender.admin.unsafe(
    `INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers)
      SELECT n, 'orders', key, id, 2, 'Placed', event -> 'data', '{}' FROM (${rows}) AS r`,
    [given],
  );
  await receiver.admin.unsafe(
    `WITH r AS MATERIALIZED (${rows}), keys AS (
      INSERT INTO inbox_key (topic, sender, msg_key, last_seq, waiting) SELECT 'orders', 'orders', key, 0, 1 FROM r
    ), messages AS (
      INSERT INTO inbox (topic, event_id, outcome) SELECT 'orders', id, 'parked' FROM r
    )
    INSERT INTO inbox_parked (topic, sender, msg_key, seq, event_id, body, parked_at)
    SELECT 'orders', 'orders', key, 2, id, convert_to(event::text, 'UTF8'), now() - make_interval(secs => $2) FROM r`,
    [given, seconds],
  );
}

describe('keys whose beginning their sender keeps no more', () => {
  const keys = (prefix: string, count: number) => numbers(1, count).map((n) => `${prefix}${n}`);
  const askedOf = (asked: unknown[]) => asked.flatMap((body) => (body as { key?: string }).key ?? []);

  test('thousands of them begin in one round, with comparisons in between; of those that may still come a batch is asked for', {
    timeout: 120_000,
  }, async () => {
    await waitInVain(keys('new', 200), 1);
    await waitInVain(keys('old', 2000), 3600);
    const { repair, asked } = open({
      ...{ ordered: true, intervalMs: 600_000, graceMs: 100, lostMs: 600_000 },
      // Two at a time take three seconds at least, and then it is compared again.
      handling: () => pause(3),
    });
    await repair.start();
    await eventually(async () => expect(await effects()).toHaveLength(2000), 100_000);
    const comparisons = questions(asked).match(/ids/g)?.length ?? 0;
    expect(comparisons).toBeGreaterThan(1);
    expect(askedOf(asked).filter((key) => key.startsWith('old'))).toHaveLength(2000);
    const fresh = askedOf(asked).filter((key) => key.startsWith('new')).length;
    expect(fresh).toBeGreaterThan(0);
    expect(fresh).toBeLessThanOrEqual(100 * comparisons);
  });

  test('those that cannot be asked for leave the others, and show', async () => {
    await waitInVain(keys('old', 20), 3600);
    const { repair, health } = open({
      ...{ ordered: true, intervalMs: 600_000 },
      answersFor: (key) => key.length > 'old9'.length,
    });
    await repair.start();
    await eventually(async () => expect(await sorted()).toEqual(numbers(10, 11)));
    await eventually(() => expect(health.details().components.repair?.status).toBe('degraded'));
  });

  test('begin also behind a message that cannot be had in any round', async () => {
    await waitInVain(keys('old', 1), 3600);
    await send('a', 10);
    await acknowledged();
    const { repair } = open({ ordered: true, graceMs: 1, answers: () => false });
    await repair.start();
    await eventually(async () => expect(await effects()).toEqual([1]));
  });

  test('of which none can be asked for have a batch in each round, each in its turn', async () => {
    await waitInVain(keys('old', 250), 3600);
    const { repair, asked } = open({ ordered: true, intervalMs: 300, answersFor: () => false });
    await repair.start();
    await eventually(() => expect(askedOf(asked).length).toBeGreaterThan(250));
    expect(new Set(askedOf(asked).slice(0, 250)).size).toBe(250);
    const rounds = questions(asked).split('ids').slice(1, 4);
    expect(rounds.map((round) => round.match(/key/g)?.length)).toEqual([100, 100, 50]);
  });
});

test('a key that a dead letter holds lacks nothing, also when its sender has the message no more', async () => {
  await send('a', 1, 2);
  await acknowledged();
  const { repair, deliver } = open({ ordered: true, refuses: (n) => n === 1 });
  await deliver('a', 1);
  await deliver('a', 2);
  await sender.admin`TRUNCATE sent`;
  await repair.start();
  await pause(1000);
  expect(await receiver.admin`SELECT reason, state FROM dead_letter`).toEqual([
    { reason: 'invariant', state: 'waiting' },
  ]);
  expect(await effects()).toEqual([]);
});

test('bad questions are told what is wrong', async () => {
  const { from } = open();
  const ask = (body: object) => callJson(from, 'POST', '/sent/orders', body);
  for (const body of [{}, { ask: 'all' }, { ask: 'ids', since: '1; drop' }, { ask: 'messages', ids: [] }])
    expect((await ask(body)).status).toBe(422);
  const { body } = await ask({ ask: 'ids' });
  const [server] = body.target.split('/');
  const nines = '9'.repeat(20);
  for (const snapshot of [
    '5:3:',
    '5:9:4',
    '5:9:9',
    '5:9:8,7',
    '5:9:,',
    '0:9:',
    `5:${nines}:`,
    `5:9:${nines}`,
  ])
    expect((await ask({ ask: 'ids', since: `${server}/${snapshot}` })).status, snapshot).toBe(422);
  for (const after of [`${nines}:1`, `1:${nines}`])
    expect((await ask({ ask: 'ids', target: body.target, after })).status, after).toBe(422);
  for (const snapshot of ['5:5:', '5:9:5,6,8'])
    expect((await ask({ ask: 'ids', since: `${server}/${snapshot}` })).status, snapshot).toBe(200);
});
