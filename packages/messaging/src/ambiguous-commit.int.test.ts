import { connectDatabase, isTransientDbError } from '@sidecart/kit/db';
import { testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { cutProxy } from '../../../tests/cut-proxy.ts';
import { createConsumer } from './consumer.ts';
import { catalog, eventually, type Fixture, openFixture, outbox, placed, remind } from './fixture.ts';
import { recorder } from './fixture-recorder.ts';
import { on } from './handler.ts';
import { createLocalWorker } from './local-worker.ts';
import { createRelay } from './relay.ts';
import { delivery } from './testing.ts';

// The statement was done, and its answer never came: for whoever asked it is as if it had failed.

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('ambiguous');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

async function throughProxy() {
  const proxy = await cutProxy(fixture.urls.url);
  const database = connectDatabase({ url: proxy.url, applicationName: 'ambiguous' });
  onTestFinished(() => database.close());
  return { proxy, database };
}

const effects = async () => (await fixture.admin<{ n: number }[]>`SELECT n FROM effect`).map(({ n }) => n);
const handler = on(catalog.Placed.schema, async (tx, { data }) => {
  await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`);
});

test('the commit of a message: its writer is told of an outage, and the message is there once', async () => {
  const { proxy, database } = await throughProxy();
  const cut = proxy.cutAfter('COMMIT');
  const writing = database.db.transaction((tx) => outbox.publish(tx, placed('k', 1)));
  await expect(writing).rejects.toSatisfy(isTransientDbError);
  await cut;
  expect(await fixture.admin`SELECT key_seq::int AS seq FROM outbox`).toEqual([{ seq: 1 }]);
});

test('the removal of what was acknowledged: it is sent once, and nothing is published a second time', async () => {
  const { proxy } = await throughProxy();
  const broker = recorder();
  const cut = proxy.cutAfter('INSERT');
  await fixture.database.db.transaction((tx) =>
    outbox.publish(tx, placed('a', 1), placed('a', 2), placed('b', 1)),
  );
  const relay = createRelay({ ...testDeps('orders'), url: proxy.url, publish: broker.publish, pollMs: 20 });
  await relay.start();
  onTestFinished(() => relay.stop());
  await cut;
  await fixture.database.db.transaction((tx) => outbox.publish(tx, placed('a', 3)));
  await eventually(async () => expect(await fixture.admin`SELECT FROM outbox`).toHaveLength(0));
  expect(await fixture.admin`SELECT msg_key AS key, key_seq::int AS seq FROM sent ORDER BY 1, 2`).toEqual([
    { key: 'a', seq: 1 },
    { key: 'a', seq: 2 },
    { key: 'a', seq: 3 },
    { key: 'b', seq: 1 },
  ]);
  expect(broker.arrived.map((e) => `${e.partitionkey}${e.sequence}`).sort()).toEqual([
    'a1',
    'a2',
    'a3',
    'b1',
  ]);
});

test.each([false, true])(
  'the commit of an effect (ordered: %s): the message comes again and is a duplicate',
  async (ordered) => {
    const { proxy, database } = await throughProxy();
    const topics = { orders: { kind: 'fact' as const, handlers: { Placed: { ...handler, ordered } } } };
    const { receive } = createConsumer({ ...testDeps('inventory'), database, topics });
    const body = new TextEncoder().encode(delivery('Placed', { key: 'k', n: 1 }, { id: 'm1', key: 'k' }));
    const cut = proxy.cutAfter('COMMIT');
    expect(await receive('orders', body, {})).toBe('retry');
    await cut;
    expect(await effects()).toEqual([1]);
    expect(await receive('orders', body, {})).toBe('done');
    expect(await effects()).toEqual([1]);
  },
);

test('the commit of the handling of a message to oneself: handled once', async () => {
  const { proxy, database } = await throughProxy();
  await fixture.database.db.transaction((tx) => outbox.send(tx, remind('k', 1), remind('k', 2)));
  const cut = proxy.cutAfter('COMMIT');
  const worker = createLocalWorker({
    ...testDeps('orders'),
    database,
    handlers: { Remind: handler },
    pollMs: 20,
  });
  await worker.start();
  onTestFinished(() => worker.stop());
  await cut;
  await fixture.database.db.transaction((tx) => outbox.send(tx, remind('k', 3)));
  await eventually(async () => expect(await fixture.admin`SELECT FROM outbox_local`).toHaveLength(0));
  expect(await effects()).toEqual([1, 2, 3]);
});
