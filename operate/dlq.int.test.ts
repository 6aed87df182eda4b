import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createApp } from '@sidecart/kit/app';
import { listen } from '@sidecart/kit/server';
import { testDeps } from '@sidecart/kit/testing';
import { createConsumer } from '@sidecart/messaging/consumer';
import { mountDeadLetters } from '@sidecart/messaging/dead-letter-routes';
import { delivery } from '@sidecart/messaging/testing';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { loadTopology } from '../generator/topology.ts';
import { testFolder } from '../local/testing.ts';
import { type Fixture, openFixture } from '../packages/messaging/src/fixture.ts';
import { on } from '../packages/messaging/src/handler.ts';
import { receivers } from './service-access.ts';
import { operatorsCommand } from './testing.ts';

// The command in front of services with real dead letters; one of them can be told to fail.

const services = receivers(loadTopology('topology.yaml'));
const troubled = 'inventory';

let fixture: Fixture;
let empty: Fixture;
beforeAll(async () => {
  fixture = await openFixture('operate_dlq');
  empty = await openFixture('operate_dlq_empty');
});
afterAll(async () => {
  await fixture?.close();
  await empty?.close();
});
beforeEach(() => fixture.clear());

/** Dead letters 1 to 3 of `troubled` and of orders, which share a database here, and a command that works on them. */
async function openShop(refuse: (path: string) => boolean = () => false) {
  await fixture.admin`ALTER SEQUENCE dead_letter_id_seq RESTART`;
  const processes = [];
  for (const name of services) {
    const { database } = name === troubled || name === 'orders' ? fixture : empty;
    const deps = testDeps(name);
    const consumer = createConsumer({
      ...deps,
      database,
      topics: {
        orders: { kind: 'fact', handlers: { Placed: on(z.object({ n: z.int() }), async () => {}) } },
      },
    });
    const app = createApp(deps);
    mountDeadLetters(app, { database, consumer });
    const fetch = async (request: Request) => {
      if (name === troubled && refuse(new URL(request.url).pathname))
        return new Response('away', { status: 500 });
      return app.fetch(request);
    };
    const server = await listen({ fetch, port: 0, host: '127.0.0.1' });
    onTestFinished(() => server.close(0));
    processes.push({ name, url: `http://127.0.0.1:${server.port}` });
    if (name === troubled)
      for (const n of [1, 2, 3]) {
        const body = delivery('Placed', { n: 'a word', token: 'tok_secret' }, { id: `m${n}`, key: `k${n}` });
        await consumer.receive('orders', new TextEncoder().encode(body), { 'x-from': 'a test' });
      }
  }
  return operatorsCommand('operate/dlq.ts', processes);
}

test('a dead letter is shown with the headers that it came with', async () => {
  const dlq = await openShop();
  expect(await dlq('show', 'orders/1')).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^header +x-from: a test$/m),
  });
});

test('what a customer pays with is not shown, and an edit that leaves it so leaves it as it is', async () => {
  const dlq = await openShop();
  const { out } = await dlq('show', 'inventory/1');
  expect(out).toContain('"token": "(not shown)"');
  expect(out).not.toContain('tok_secret');
  const { data } = JSON.parse(out.slice(out.indexOf('\n{')));
  const file = join(testFolder(), 'mended.json');
  writeFileSync(file, JSON.stringify({ ...data, n: 1 }));
  expect(await dlq('edit', 'inventory/1', '--data', file, '--note', 'a number')).toMatchObject({ code: 0 });
  const [row] = await fixture.admin`SELECT convert_from(body, 'UTF8') AS body FROM dead_letter WHERE id = 1`;
  expect(JSON.parse(row?.body).data).toEqual({ n: 1, token: 'tok_secret' });
});

test('who decides is kept as it was typed, whatever the letters', async () => {
  const dlq = await openShop();
  for (const name of ['Ann Smith', 'Łukasz 100%'])
    expect((await dlq('redrive', 'inventory/1', '--as', name)).out).toMatch(/^inventory\/1: failed/);
  expect(await dlq('discard', 'inventory/1', '--note', 'why', '--as', 'José')).toMatchObject({ code: 0 });
  const rows = await fixture.admin`SELECT actor FROM dead_letter_action ORDER BY id`;
  expect(rows.map(({ actor }) => actor)).toEqual(['Ann Smith', 'Łukasz 100%', 'José']);
});

test('a name that cannot be kept is refused once, and nothing is done', async () => {
  const dlq = await openShop();
  const name = 'a'.repeat(129);
  expect(await dlq('discard', 'inventory/1', 'inventory/2', '--note', 'why', '--as', name)).toEqual({
    code: 1,
    out: '',
    err: 'a name of 129 characters is too long to be kept\nCure: give one of 1 to 128 characters in one line with --as NAME',
  });
  expect(await fixture.admin`SELECT FROM dead_letter WHERE state <> 'waiting'`).toHaveLength(0);
});

test('one that cannot be decided is told of, and the others are decided all the same', async () => {
  const dlq = await openShop((path) => path.endsWith('/2/redrive'));
  const { code, out, err } = await dlq('redrive', '--all', '--service', troubled);
  expect(code).toBe(1);
  expect(out).toMatch(/inventory\/1: failed[\s\S]*\ninventory\/3: failed/);
  expect(err).toContain('inventory/2: inventory refused: 500 away');
  expect(err).toContain('Cure: try again; if it stays so, look at the log of the service');
  expect(await dlq('discard', 'inventory/2', 'inventory/9', 'inventory/3', '--note', 'why')).toMatchObject({
    code: 1,
    out: 'inventory/2: discarded\ninventory/3: discarded',
    err: expect.stringContaining('inventory/9: '),
  });
});

test('an option that a command has no use for is refused, and nothing is done', async () => {
  const dlq = await openShop();
  for (const [args, fault] of [
    [['redrive', '--all', '--state', 'discarded'], 'redrive takes no --state'],
    [['redrive', 'inventory/1', '--note', 'why'], 'redrive takes no --note'],
    [['redrive', 'inventory/1', '--topic', 'payments'], 'redrive takes --topic with --all only'],
    [['show', 'inventory/1', '--service', 'orders'], 'show takes no --service'],
    [['discard', 'inventory/1', '--note', 'why', '--topic', 'payments'], 'discard takes no --topic'],
  ] as const)
    expect(await dlq(...args)).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining(`${fault}\n`),
    });
  expect(await fixture.admin`SELECT FROM dead_letter WHERE state <> 'waiting'`).toHaveLength(0);
  expect(await fixture.admin`SELECT FROM dead_letter_action`).toHaveLength(0);
});
