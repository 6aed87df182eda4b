import { createApp } from '@sidecart/kit/app';
import type { Dapr, InvokeRequest } from '@sidecart/kit/dapr';
import { DaprError } from '@sidecart/kit/dapr-error';
import type { Worker } from '@sidecart/kit/service';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { messagesDocument, tableOfMetrics } from '../../../tests/metrics-table.ts';
import { createBrokerWatch } from './broker-watch.ts';
import { createConsumer } from './consumer.ts';
import { createDelayedRelease } from './delayed.ts';
import { PermanentError } from './failures.ts';
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
  reserve,
} from './fixture.ts';
import { on } from './handler.ts';
import { createHousekeeping } from './housekeeping.ts';
import { createLocalWorker } from './local-worker.ts';
import { mountMessages } from './mount.ts';
import { createRelay, type RelayOptions } from './relay.ts';
import { createRepair } from './repair.ts';
import { mountSent } from './sent-routes.ts';
import { slotOf } from './slot.ts';
import { delivery } from './testing.ts';

// What a scrape says of everything that can befall messages: a metric that nobody sets looks like a calm day. The last test looks that
// none of the document's table was left out.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('metrics');
});
beforeEach(async () => {
  await fixture.clear();
  await fixture.admin`TRUNCATE repair_cursor, repair_missing`;
});
afterAll(() => fixture?.close());

/** Metrics that some test has asked for, without `sidecart_`. */
const asked = new Set<string>();

/** What a service's parts are made from, and what is scraped from it. */
function service() {
  const deps = { ...testDeps('orders'), database: fixture.database };
  const app = createApp(deps);
  return {
    deps,
    app,
    /** The value of the one sample of `sidecart_<name>` with these labels; undefined when there is none. */
    async metric(name: string, labels: Record<string, string | number> = {}): Promise<number | undefined> {
      asked.add(name.replace(/_(count|sum|bucket)$/, ''));
      const { body } = await callJson(app, 'GET', '/metrics');
      const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
      const found = [...body.matchAll(/^sidecart_(\w+)\{(.*)\} (\S+)$/gm)].filter(
        ([, sample, had]) => sample === name && wanted.every((label) => had.split(',').includes(label)),
      );
      if (found.length > 1) throw new Error(`${found.length} samples of ${name}: more labels are needed`);
      return found[0] && Number(found[0][3]);
    },
  };
}

async function start<W extends Worker>(worker: W): Promise<W> {
  await worker.start();
  onTestFinished(worker.stop);
  return worker;
}

/** It is some 100 s, as the tests set times back by so much: not 0, and no milliseconds. */
function expectSome100Seconds(seconds: number | undefined): void {
  expect(seconds).toBeGreaterThanOrEqual(100);
  expect(seconds).toBeLessThan(200);
}

const transaction: Fixture['database']['db']['transaction'] = (work) => fixture.database.db.transaction(work);
const rows = async (table: string) =>
  Number((await fixture.admin.unsafe<{ n: number }[]>(`SELECT count(*)::int AS n FROM ${table}`))[0]?.n);

test('what waits to be published and to be handled, by slot: how much and for how long, until nothing does', async () => {
  const { deps, metric } = service();
  const goOn = Promise.withResolvers<void>();
  await transaction(async (tx) => {
    await outbox.publish(tx, placed('k', 1), placed('k', 2));
    await outbox.send(tx, remind('k', 1), remind('k', 2), remind('k', 3));
  });
  for (const table of ['outbox', 'outbox_local'])
    await fixture.admin.unsafe(`UPDATE ${table} SET created_at = created_at - interval '100 seconds'`);
  const waits = on(catalog.Remind.schema, () => goOn.promise);
  await start(createRelay({ ...deps, url: fixture.urls.url, publish: () => goOn.promise }));
  await start(createLocalWorker({ ...deps, handlers: { Remind: waits } }));
  const [slot, other] = [slotOf('k'), (slotOf('k') + 1) % 16];
  for (const [queue, messages] of [
    ['outbox', 2],
    ['local', 3],
  ] as const) {
    await eventually(async () => expect(await metric(`${queue}_depth`, { slot })).toBe(messages));
    expectSome100Seconds(await metric(`${queue}_oldest_seconds`, { slot }));
    expect(await metric(`${queue}_depth`, { slot: other })).toBe(0);
    expect(await metric(`${queue}_oldest_seconds`, { slot: other })).toBe(0);
  }
  goOn.resolve();
  for (const queue of ['outbox', 'local']) {
    await eventually(async () => expect(await metric(`${queue}_depth`, { slot })).toBe(0), 15_000);
    expect(await metric(`${queue}_oldest_seconds`, { slot })).toBe(0);
  }
});

test('publishing: what was acknowledged and how long that took, what was not, and the keys that wait for it', async () => {
  const { deps, metric } = service();
  let cured = false;
  const failures = { bad: 0, unlucky: 0 };
  const publish: RelayOptions['publish'] = async (_, { partitionkey: key }) => {
    await pause(30);
    if (cured || (key !== 'bad' && key !== 'unlucky')) return;
    failures[key] += 1;
    throw key === 'bad' ? new DaprError('refused', 'too big') : new DaprError('unavailable', 'timeout');
  };
  await transaction(async (tx) => {
    await outbox.publish(tx, ...['a', 'b', 'b', 'bad', 'unlucky'].map((key, n) => placed(key, n)));
    await outbox.send(tx, reserve('a', 1));
  });
  const relay = await start(createRelay({ ...deps, url: fixture.urls.url, publish }));
  const topic = 'orders';
  await eventually(async () => {
    expect(await metric('outbox_published_total', { topic })).toBe(3);
    expect(await metric('outbox_published_total', { topic: 'commands.inventory' })).toBe(1);
    expect(await metric('outbox_failing_keys', { refused: 'true' })).toBe(1);
    expect(await metric('outbox_failing_keys', { refused: 'false' })).toBe(1);
  });
  expect(await metric('outbox_publish_seconds_count', { topic })).toBe(3);
  expect(await metric('outbox_publish_seconds_sum', { topic })).toBeGreaterThan(3 * 0.029);
  expect(await metric('outbox_publish_seconds_sum', { topic })).toBeLessThan(30);
  cured = true;
  await eventually(async () => {
    expect(await metric('outbox_failing_keys', { refused: 'true' })).toBe(0);
    expect(await metric('outbox_failing_keys', { refused: 'false' })).toBe(0);
  });
  await relay.stop();
  expect(await metric('outbox_published_total', { topic })).toBe(5);
  const total = (refused: boolean) =>
    metric('outbox_publish_failures_total', { topic, refused: String(refused) });
  expect([await total(true), await total(false)]).toEqual([failures.bad, failures.unlucky]);
});

test('a delayed message that is due and not moved: for how long', async () => {
  const { deps, metric } = service();
  await transaction((tx) => outbox.publish(tx, placed('k', 0)));
  await transaction((tx) => outbox.publish(tx, { ...placed('k', 1), delayMs: 0 }));
  await fixture.admin`UPDATE outbox_delayed SET due_at = due_at - interval '100 seconds'`;
  const release = await openTransaction(fixture.database, (tx) => outbox.publish(tx, placed('k', 2)));
  await start(createDelayedRelease({ ...deps, pollMs: 50 }));
  await eventually(async () => expectSome100Seconds(await metric('outbox_delayed_overdue_seconds')));
  await release();
  await eventually(async () => expect(await metric('outbox_delayed_overdue_seconds')).toBe(0));
});

test('messages to oneself: what became of them, how long handlers take, and the keys that wait for another try', async () => {
  const { deps, metric } = service();
  let cured = false;
  let failures = 0;
  const handler = on(catalog.Remind.schema, async (_, { data: { key } }) => {
    if (key === 'dead') throw new PermanentError('never');
    if (key === 'unlucky' && !cured) {
      failures += 1;
      throw new Error('not now');
    }
    await pause(30);
  });
  await transaction((tx) => outbox.send(tx, ...['a', 'dead', 'unlucky'].map((key, n) => remind(key, n))));
  const worker = await start(createLocalWorker({ ...deps, handlers: { Remind: handler }, pollMs: 50 }));
  const handled = (outcome: string) => metric('local_handled_total', { type: 'Remind', outcome });
  await eventually(async () => {
    expect(await metric('local_failing_keys')).toBe(1);
    expect([await handled('applied'), await handled('dead_letter')]).toEqual([1, 1]);
  });
  cured = true;
  await eventually(async () => expect(await metric('local_failing_keys')).toBe(0));
  await worker.stop();
  expect(await rows('outbox_local')).toBe(0);
  expect([await handled('applied'), await handled('dead_letter')]).toEqual([2, 1]);
  expect(await handled('retry')).toBe(failures);
  expect(await metric('local_handler_seconds_count', { type: 'Remind' })).toBeGreaterThanOrEqual(2);
  expect(await metric('local_handler_seconds_sum', { type: 'Remind' })).toBeGreaterThan(2 * 0.029);
  expect(await metric('local_handler_seconds_sum', { type: 'Remind' })).toBeLessThan(30);
});

describe('deliveries', () => {
  /** A consumer whose handlers take 30 ms; 13 can never be handled, and 7 not now. */
  function receiving() {
    const made = service();
    const handler = on(
      catalog.Placed.schema,
      async (_, { data: { n } }) => {
        await pause(30);
        if (n === 13) throw new PermanentError('never');
        if (n === 7) throw new Error('not now');
      },
      { ordered: true },
    );
    const consumer = createConsumer({
      ...made.deps,
      sweepMs: 50,
      topics: { orders: { kind: 'fact', handlers: { Placed: handler } } },
    });
    /** Number `sequence` of the key is delivered, so many seconds after it was written. */
    const deliver = (key: string, sequence: number, o: { n?: number; type?: string; ago?: number } = {}) => {
      const { n = 1, type = 'Placed', ago = 0 } = o;
      const body = JSON.parse(delivery(type, { key, n }, { id: `${key}${sequence}`, key, sequence }));
      const time = new Date(Date.now() - ago * 1000).toISOString();
      return consumer.receive('orders', new TextEncoder().encode(JSON.stringify({ ...body, time })), {});
    };
    const handled = (outcome: string, type = 'Placed') =>
      made.metric('inbox_handled_total', { topic: 'orders', type, outcome });
    return { ...made, consumer, deliver, handled };
  }

  test('what became of each, how long that took, and how old they were', async () => {
    const { deliver, handled, metric } = receiving();
    await deliver('a', 1, { ago: 3600 });
    for (let i = 0; i < 3; i += 1) await deliver('a', 1);
    await deliver('a', 3);
    await deliver('b', 1, { n: 7 });
    await deliver('c', 1, { n: 13 });
    await deliver('d', 1, { type: 'Unknown' });
    const outcomes = ['applied', 'duplicate', 'parked', 'retry', 'dead_letter'];
    expect(await Promise.all(outcomes.map((outcome) => handled(outcome)))).toEqual([1, 3, 1, 1, 1]);
    expect(await handled('unhandled', 'other')).toBe(1);
    const placed = { topic: 'orders', type: 'Placed' };
    expect(await metric('inbox_handling_seconds_count', placed)).toBe(7);
    // Of one that is applied, one that fails and one that dies.
    expect(await metric('inbox_handling_seconds_sum', placed)).toBeGreaterThan(3 * 0.029);
    expect(await metric('inbox_handling_seconds_sum', placed)).toBeLessThan(30);
    const applied = { topic: 'orders', outcome: 'applied' };
    expect(await metric('inbox_age_seconds_count', applied)).toBe(1);
    expect(await metric('inbox_age_seconds_sum', applied)).toBeGreaterThanOrEqual(3600);
    expect(await metric('inbox_age_seconds_sum', applied)).toBeLessThan(3700);
    expect(await metric('inbox_age_seconds_count', { ...applied, outcome: 'duplicate' })).toBe(3);
    expect(await metric('inbox_forgotten_total', { topic: 'orders' })).toBe(0);
    await deliver('e', 1, { ago: 9 * 24 * 3600 });
    expect(await metric('inbox_forgotten_total', { topic: 'orders' })).toBe(1);
  });

  test('what fails again and again, with the reason in the health details, until it is handled', async () => {
    const { consumer, deliver, metric, deps } = receiving();
    const topic = 'orders';
    await start(consumer.worker);
    await deliver('a', 1, { n: 7 });
    await deliver('b', 1, { n: 7 });
    await eventually(async () => expect(await metric('inbox_failing', { topic })).toBe(0));
    expect(deps.health.details().components.inbox).toEqual({ status: 'ok' });
    await pause(10_100); // a failure of a moment is nobody's concern
    await deliver('a', 1, { n: 7 });
    await deliver('b', 1, { n: 7 });
    await eventually(async () => expect(await metric('inbox_failing', { topic })).toBe(2));
    await eventually(() =>
      expect(deps.health.details().components.inbox).toEqual({
        status: 'degraded',
        reason: '2 message(s) of orders fail again and again, b1 2 times: not now',
      }),
    );
    for (const key of ['a', 'b']) await deliver(key, 1);
    await eventually(async () => expect(await metric('inbox_failing', { topic })).toBe(0));
    expect(deps.health.details().components.inbox).toEqual({ status: 'ok' });
  });

  test('so does a parked one that fails when its turn has come', async () => {
    const { consumer, deliver, metric, deps } = receiving();
    await start(consumer.worker);
    await deliver('a', 2, { n: 7 });
    await deliver('a', 1);
    await eventually(async () => expect(await metric('inbox_failing', { topic: 'orders' })).toBe(1));
    await fixture.admin`UPDATE inbox_failing SET set_aside_at = set_aside_at - interval '10 seconds'`;
    await eventually(() =>
      expect(deps.health.details().components.inbox?.reason).toMatch(
        /^1 message\(s\) of orders fail again and again, a2 /,
      ),
    );
  });

  test('what waits for one before it and for how long, the keys that a dead letter holds, and how many dead letters', async () => {
    const { consumer, deliver, metric, deps, app } = receiving();
    mountMessages(app, { service: 'orders', database: fixture.database, consumer });
    const topic = 'orders';
    for (const sequence of [2, 3]) await deliver('gap', sequence);
    await deliver('held', 1, { n: 13 });
    await deliver('held', 2);
    await fixture.admin`UPDATE inbox_parked SET parked_at = parked_at - interval '100 seconds'`;
    await start(consumer.worker);
    await eventually(async () => expect(await metric('inbox_parked', { topic })).toBe(3));
    expectSome100Seconds(await metric('inbox_parked_oldest_seconds', { topic }));
    expect(await metric('inbox_held_keys', { topic })).toBe(1);
    expect(await metric('dead_letters')).toBe(1);
    await start(createHousekeeping({ ...deps, reportMs: 50 }));
    await deliver('gap', 1);
    const { body } = await callJson(app, 'GET', '/admin/dead-letters');
    await callJson(app, 'POST', `/admin/dead-letters/${body.items[0].id}/discard`, {
      note: 'no longer wanted',
    });
    await eventually(async () => {
      expect(await metric('inbox_parked', { topic })).toBe(0);
      expect(await metric('inbox_parked_oldest_seconds', { topic })).toBe(0);
      expect(await metric('inbox_held_keys', { topic })).toBe(0);
      expect(await metric('dead_letters')).toBe(0);
    });
  });
});

describe('what never came', () => {
  const EDGE = { topic: 'orders', sender: 'orders' };

  /** Sender and receiver in one, which is asked without a sidecar; `answers` is waited for before it gives messages away. */
  function repairing(
    o: { ordered?: boolean; handling?: () => Promise<void>; answers?: () => Promise<void> } = {},
  ) {
    const made = service();
    mountSent(made.app, { service: 'orders', database: fixture.database });
    const dapr: Pick<Dapr, 'invoke'> = {
      async invoke(_app: string, { method, path, body }: InvokeRequest) {
        if ((body as { ask: string }).ask === 'messages') await o.answers?.();
        const answer = await callJson(made.app, method, path, body);
        return { ...answer, body: JSON.stringify(answer.body), json: () => answer.body };
      },
    };
    const Placed = on(catalog.Placed.schema, async () => o.handling?.(), { ordered: o.ordered ?? false });
    const consumer = createConsumer({
      ...made.deps,
      topics: { orders: { kind: 'fact', handlers: { Placed } } },
    });
    const times = { intervalMs: 50, graceMs: 100, lostMs: 200 };
    const repair = createRepair({ ...made.deps, ...times, dapr, consumer, edges: [EDGE] });
    const deliver = (key: string, sequence: number) => {
      const body = JSON.parse(delivery('Placed', { key, n: 1 }, { id: `${key}${sequence}`, key, sequence }));
      const text = JSON.stringify({ ...body, source: '/sidecart/orders' });
      return consumer.receive('orders', new TextEncoder().encode(text), {});
    };
    return { ...made, repair, deliver };
  }

  /** As after the broker acknowledged them. */
  async function sent(key: string, messages = 1): Promise<void> {
    const all = Array.from({ length: messages }, (_, n) => placed(key, n));
    await transaction((tx) => outbox.publish(tx, ...all));
    await fixture.admin`
      WITH gone AS (DELETE FROM outbox RETURNING id, topic, msg_key, event_id, key_seq, type, payload, headers)
      INSERT INTO sent (id, topic, msg_key, event_id, key_seq, type, payload, headers) SELECT * FROM gone`;
  }

  test('is counted while it is overdue and when it is fetched, and a topic on which nothing else comes is down', async () => {
    const handled = Promise.withResolvers<void>();
    const { repair, deliver, metric } = repairing({ handling: () => handled.promise });
    await sent('a', 2);
    await start(repair);
    await eventually(async () => expect(await metric('repair_missing', EDGE)).toBe(2));
    expect(await metric('repair_fetched_total', EDGE)).toBe(0);
    handled.resolve();
    const { topic } = EDGE;
    await eventually(async () => {
      expect(await metric('repair_missing', EDGE)).toBe(0);
      expect(await metric('repair_fetched_total', EDGE)).toBe(2);
      expect(await metric('subscription_up', { topic })).toBe(1);
    });
    await sent('b');
    await eventually(async () => expect(await metric('subscription_up', { topic })).toBe(0));
    expect(await metric('repair_fetched_total', EDGE)).toBe(3);
    await deliver('c', 1);
    await eventually(async () => expect(await metric('subscription_up', { topic })).toBe(1));
  });

  test('and is gone at its sender is counted as lost: what was told of before, and what a key waits for', async () => {
    const gone = Promise.withResolvers<void>();
    const { repair, deliver, metric } = repairing({ ordered: true, answers: () => gone.promise });
    await sent('told', 2);
    await start(repair);
    await eventually(async () => expect(await rows('repair_missing')).toBe(2));
    expect(await metric('repair_lost_total', EDGE)).toBe(0);
    await fixture.admin`TRUNCATE sent`;
    gone.resolve();
    await eventually(async () => expect(await metric('repair_lost_total', EDGE)).toBe(2));
    await deliver('k', 1);
    await deliver('k', 3);
    await eventually(async () => expect(await metric('repair_lost_total', EDGE)).toBe(3));
  });
});

test('the broker, by component: whether it is reached', async () => {
  const { deps, metric } = service();
  let cut = true;
  const dapr: Pick<Dapr, 'publish' | 'shutdownSidecar'> = {
    async publish(component) {
      if (cut && component === 'pubsub-b') throw new DaprError('unavailable', 'nats: timeout');
    },
    async shutdownSidecar() {},
  };
  await start(createBrokerWatch({ ...deps, dapr, components: ['pubsub-a', 'pubsub-b'], intervalMs: 20 }));
  await eventually(async () => expect(await metric('broker_up', { component: 'pubsub-b' })).toBe(0));
  expect(await metric('broker_up', { component: 'pubsub-a' })).toBe(1);
  cut = false;
  await eventually(async () => expect(await metric('broker_up', { component: 'pubsub-b' })).toBe(1));
});

test('every metric of the table for who runs it was asked for above', () => {
  const told = tableOfMetrics(messagesDocument());
  expect(told).toContain('dead_letters');
  expect(told.filter((name) => !asked.has(name))).toEqual([]);
});
