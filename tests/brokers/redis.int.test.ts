import { setTimeout as sleep } from 'node:timers/promises';
import { createApp } from '@sidecart/kit/app';
import { TEST_TOKEN, testDeps } from '@sidecart/kit/testing';
import { createConsumer, mountConsumer } from '@sidecart/messaging/consumer';
import { on } from '@sidecart/messaging/handler';
import { sql } from 'drizzle-orm';
import { expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { openFixture } from '../../packages/messaging/src/fixture.ts';
import {
  closeProbe,
  missingGroups,
  readLately,
  trimStreams,
  waitingReaders,
} from '../../platform/redis-streams.ts';
import { until } from '../waiting.ts';
import { openRedisRig, type RedisRig } from './redis-rig.ts';

const ids = Array.from({ length: 6 }, (_, i) => `book-${i}`);
const groups = [{ app: 'readers', stream: 'books', name: 'readers-books' }];

async function publishAll(rig: RedisRig): Promise<void> {
  for (const id of ids) expect(await rig.publish(id)).toMatchObject({ status: 204 });
}

/** How many messages wait to be acknowledged. */
const open = async (rig: RedisRig) => ((await rig.ask('XPENDING', 'books', 'readers-books')) as [number])[0];

test('deliveries that fail for longer than the component waits for one come again until they are handled', async (context) => {
  const rig = await openRedisRig(context);
  const end = performance.now() + 8_000;
  // 401 is what an app answers that was given another token.
  rig.answer = (id) => (performance.now() > end ? 200 : id.endsWith('1') ? 401 : 503);
  await rig.startReader();
  await publishAll(rig);
  await until('all to be handled', () => rig.handled().size === ids.length);
  await until('all to be acknowledged', async () => (await open(rig)) === 0);
});

/** What is published is delivered, acknowledged although that failed, and does not come again when it would not fail. */
async function expectAllLost(rig: RedisRig): Promise<void> {
  await publishAll(rig);
  await until(
    'all to be given up',
    async () => rig.deliveries.length >= ids.length && (await open(rig)) === 0,
  );
  rig.answer = () => 200;
  await sleep(3_000);
  expect(rig.handled().size).toBe(0);
}

test.for([
  ['without a retry', '\n          retry: deliver', '', 503],
  ['with a retry that ends too soon', 'maxRetries: 6', 'maxRetries: 2', 503],
  ['with a retry after some answers only', '100-599', '500-599', 401],
] as const)(
  'control: %s, a delivery that fails is acknowledged and lost',
  async ([, from, to, status], context) => {
    const rig = await openRedisRig(context, [from, to]);
    rig.answer = () => status;
    await rig.startReader();
    await expectAllLost(rig);
  },
);

/** The app that a service makes, with an effect for each message; without `routes` it does not take messages yet. */
async function openReader(o: { routes: boolean }) {
  const fixture = await openFixture('redis_reader');
  onTestFinished(() => fixture.close());
  const deps = testDeps('readers');
  const handler = on(z.object({ n: z.int() }), async (tx, { data }) => {
    await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`);
  });
  const topics = { books: { kind: 'fact' as const, handlers: { BookAdded: handler } } };
  const app = createApp(deps);
  if (o.routes) mountConsumer(app, createConsumer({ ...deps, database: fixture.database, topics }));
  const headers = { 'content-type': 'application/cloudevents+json', 'dapr-api-token': TEST_TOKEN };
  return {
    answer: async (_id: string, body: string) =>
      (await app.request('/messages/books', { method: 'POST', body, headers })).status,
    effects: async () => (await fixture.admin`SELECT FROM effect`).length,
  };
}

test('published twice under one id it is stored twice, and has one effect', async (context) => {
  const rig = await openRedisRig(context);
  const reader = await openReader({ routes: true });
  rig.answer = reader.answer;
  for (const _ of [1, 2]) await rig.publish('book-1');
  expect(await rig.ask('XLEN', 'books')).toBe(2);
  await rig.startReader();
  await until('both to be handled', () => rig.deliveries.length >= 2);
  await until('both to be acknowledged', async () => (await open(rig)) === 0);
  expect(rig.deliveries.map(({ status }) => status)).toEqual([200, 200]);
  expect(await reader.effects()).toBe(1);
});

test('an app without its route drops nothing, for however long', async (context) => {
  const rig = await openRedisRig(context);
  const [bare, reader] = [await openReader({ routes: false }), await openReader({ routes: true })];
  rig.answer = bare.answer;
  await rig.startReader();
  await publishAll(rig);
  await sleep(8_000);
  expect(new Set(rig.deliveries.map(({ status }) => status))).toEqual(new Set([503]));
  rig.answer = reader.answer;
  await until('all to be handled', async () => (await reader.effects()) === ids.length);
});

test('control: an app that answers 404 loses what is delivered to it', async (context) => {
  const rig = await openRedisRig(context);
  rig.answer = () => 404;
  await rig.startReader();
  await expectAllLost(rig);
});

test('what a killed sidecar had read is delivered by another', async (context) => {
  const rig = await openRedisRig(context);
  let stuck = true;
  rig.answer = () => (stuck ? new Promise<number>(() => {}) : 200);
  const first = await rig.startReader();
  await publishAll(rig);
  await until('all to be read', async () => (await open(rig)) === ids.length);
  await first.kill();
  stuck = false;
  await rig.startReader();
  await until('all to be handled', () => rig.handled().size === ids.length);
});

test.for([
  ['in milliseconds it counts', '"2000"', true],
  ['control: with a unit it is passed over, and is 15 s', '2s', false],
] as const)(
  'how often it is looked for what a killed sidecar had read: %s',
  async ([, interval, soon], context) => {
    const rig = await openRedisRig(context, [
      'name: redeliverInterval\n      value: "15000"',
      `name: redeliverInterval\n      value: ${interval}`,
    ]);
    rig.answer = () => new Promise<number>(() => {});
    const first = await rig.startReader();
    await publishAll(rig);
    await until('all to be read', async () => (await open(rig)) === ids.length);
    await first.kill();
    rig.answer = () => 200;
    await rig.startReader();
    await sleep(9_000);
    expect(rig.handled().size).toBe(soon ? ids.length : 0);
  },
);

test('a killed Redis comes back with all that it acknowledged, and the sidecars go on by themselves', async (context) => {
  const rig = await openRedisRig(context);
  await publishAll(rig);
  await rig.redis.kill();
  expect(await rig.publish('while away')).toMatchObject({ status: 500 });
  await rig.redis.start();
  await rig.startReader();
  await until('all to be handled', () => rig.handled().size === ids.length);

  await rig.redis.kill();
  await sleep(2_000);
  await rig.redis.start();
  await until('a publish to be taken', async () => (await rig.publish('after')).status === 204);
  await until('it to be handled', () => rig.handled().has('after'));
});

test('in a Redis that came back empty, sidecars make stream and group again', async (context) => {
  const rig = await openRedisRig(context);
  await publishAll(rig);
  expect(await missingGroups(rig.url, groups)).toEqual(['readers-books']);
  expect(await waitingReaders(rig.url)).toBe(0);
  await rig.startReader();
  await until('all to be handled', () => rig.handled().size === ids.length);
  await until('it to wait for more', async () => (await waitingReaders(rig.url)) === 1);
  expect(await readLately(rig.url, groups, 15_000)).toEqual(new Set(['readers-books']));
  await rig.ask('FLUSHALL');
  expect(await rig.publish('after')).toMatchObject({ status: 204 });
  await until('it to be handled', () => rig.handled().has('after'));
  expect(await missingGroups(rig.url, groups)).toEqual([]);
});

test.for([
  ['with a readTimeout it is noticed', '3s', true],
  ['control: without one it is not', '0', false],
] as const)('a Redis that vanishes without a word: %s', async ([, readTimeout, noticed], context) => {
  const rig = await openRedisRig(context, [
    'name: readTimeout\n      value: 30s',
    `name: readTimeout\n      value: "${readTimeout}"`,
  ]);
  await rig.startReader();
  await rig.publish('before');
  await until('it to be handled', () => rig.handled().has('before'));
  rig.redis.vanish();
  await until('a publish to be taken', async () => (await rig.publish('after')).status === 204);
  if (noticed) await until('it to be handled', () => rig.handled().has('after'));
  else await sleep(8_000);
  expect(rig.handled().has('after')).toBe(noticed);
});

test('a probe shows that Redis is well and leaves nothing, once its key is closed', async (context) => {
  const rig = await openRedisRig(context);
  expect(await rig.publish('control', 'probe')).toMatchObject({ status: 204 });
  expect(await rig.ask('TYPE', 'probe')).toBe('stream');
  expect(await closeProbe(rig.url)).toBe(true);
  expect(await rig.publish('probe', 'probe')).toEqual({
    status: 500,
    text: expect.stringContaining('WRONGTYPE'),
  });
  expect(await closeProbe(rig.url)).toBe(false);
  expect(await rig.ask('KEYS', '*')).toEqual(['probe']);
});

test('entries go when they are older than their stream keeps, and no others', async (context) => {
  const rig = await openRedisRig(context);
  const [seconds] = (await rig.ask('TIME')) as [string];
  await rig.ask('XADD', 'books', `${(Number(seconds) - 100) * 1000}-0`, 'data', 'old');
  await rig.publish('new');
  const wanted = (max_age_ms: number) => [{ name: 'books', max_age_ms }];
  expect(await trimStreams(rig.url, wanted(200_000))).toBe(0);
  expect(await trimStreams(rig.url, wanted(50_000))).toBe(1);
  expect(await rig.ask('XLEN', 'books')).toBe(1);
});
