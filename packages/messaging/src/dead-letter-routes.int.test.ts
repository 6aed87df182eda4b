import { writeActor } from '@sidecart/kit/actor';
import { createApp } from '@sidecart/kit/app';
import type { Transaction } from '@sidecart/kit/db';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { buryMessage } from './bury.ts';
import { createConsumer } from './consumer.ts';
import { mountDeadLetters } from './dead-letter-routes.ts';
import { listDeadLetters } from './dead-letters.ts';
import { PermanentError } from './failures.ts';
import { eventually, type Fixture, openFixture, openTransaction } from './fixture.ts';
import { on } from './handler.ts';
import { applyDead, recordOnce } from './inbox.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';
import { delivery } from './testing.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('dead_letters');
});
beforeEach(() => fixture.clear());
afterAll(() => fixture?.close());

/** Every handling fails while `broken` says so; `Step` wants the order. */
function service(
  broken: () => Error | undefined = () => new PermanentError('not yet'),
  { during = async () => {} } = {},
) {
  const deps = testDeps('inventory');
  const handler = (ordered: boolean) =>
    on(
      z.object({ n: z.int() }),
      async (tx, { data }) => {
        await tx.execute(sql`INSERT INTO effect VALUES (${data.n})`);
        await during();
        const err = broken();
        if (err) throw err;
      },
      { ordered },
    );
  const consumer = createConsumer({
    ...deps,
    database: fixture.database,
    topics: {
      orders: { kind: 'fact', handlers: { Placed: handler(false) } },
      'commands.inventory': { kind: 'command', handlers: { Step: handler(true) } },
    },
  });
  const app = createApp(deps);
  mountDeadLetters(app, { database: fixture.database, consumer });
  const send = (body: string, topic = 'orders') =>
    consumer.receive(topic, new TextEncoder().encode(body), {
      'content-type': 'application/cloudevents+json',
    });
  const callAs = (as: Record<string, string>) => (method: string, path: string, body?: unknown) =>
    callJson(app, method, `/admin/dead-letters${path}`, body, as);
  return { app, send, callAs, call: callAs({ 'x-sidecart-actor': 'ana' }) };
}

const placed = (n: number, id = `m${n}`) => delivery('Placed', { n }, { id, key: 'k' });
const step = (n: number) => delivery('Step', { n }, { id: `s${n}`, key: 'k', sequence: n });
const effects = async () =>
  (await fixture.admin<{ n: number }[]>`SELECT n FROM effect ORDER BY n`).map(({ n }) => n);
const outcomes = () => fixture.admin`SELECT event_id, outcome FROM inbox ORDER BY event_id`;

describe('redrive', () => {
  test('runs the same handler under the same id, once, and keeps who asked', async () => {
    let broken = true;
    const { send, call } = service(() => (broken ? new PermanentError('no such product') : undefined));
    await send(placed(1));
    const { items } = (await call('GET', '')).body;
    expect(items).toMatchObject([
      {
        topic: 'orders',
        event_id: 'm1',
        type: 'Placed',
        reason: 'invariant',
        detail: 'no such product',
        state: 'waiting',
      },
    ]);
    const path = `/${items[0].id}`;

    expect((await call('POST', `${path}/redrive`)).body).toEqual({
      outcome: 'failed',
      detail: 'no such product',
    });
    expect(await effects()).toEqual([]);
    broken = false;
    expect((await call('POST', `${path}/redrive`)).body).toEqual({ outcome: 'applied' });
    expect((await call('POST', `${path}/redrive`)).body).toEqual({ outcome: 'already_redriven' });
    expect((await call('POST', `${path}/discard`, { note: 'late' })).body).toEqual({
      outcome: 'already_redriven',
    });
    await send(placed(1));
    expect(await effects()).toEqual([1]);
    expect(await outcomes()).toEqual([{ event_id: 'm1', outcome: 'applied' }]);
    expect((await call('GET', path)).body).toMatchObject({
      state: 'redriven',
      resolved_at: expect.any(String),
      actions: [
        { actor: 'ana', action: 'redrive', note: 'failed: no such product' },
        { actor: 'ana', action: 'redrive', note: 'applied' },
      ],
    });
    expect((await call('GET', '')).body.items).toEqual([]);
    expect((await call('GET', '?state=redriven')).body.items).toHaveLength(1);
  });

  test('is noted before the handler runs, so that who asked is known of one that kills the process', async () => {
    let notes: unknown;
    let again = false;
    const { send, call } = service(() => (again ? undefined : new PermanentError('no')), {
      async during() {
        if (again) notes = await fixture.admin`SELECT actor, action, note FROM dead_letter_action`;
      },
    });
    await send(placed(1));
    again = true;
    const id = (await call('GET', '')).body.items[0].id;
    expect((await call('POST', `/${id}/redrive`)).body).toEqual({ outcome: 'applied' });
    expect(notes).toEqual([{ actor: 'ana', action: 'redrive', note: 'begun' }]);
    expect((await call('GET', `/${id}`)).body.actions).toMatchObject([{ actor: 'ana', note: 'applied' }]);
  });

  test('two at once: one applies', async () => {
    let broken = true;
    const { send, call } = service(() => (broken ? new PermanentError('no') : undefined));
    await send(placed(1));
    broken = false;
    const id = (await call('GET', '')).body.items[0].id;
    const answers = await Promise.all([1, 2, 3].map(() => call('POST', `/${id}/redrive`)));
    expect(answers.map(({ body }) => body.outcome).sort()).toEqual([
      'already_redriven',
      'already_redriven',
      'applied',
    ]);
    expect(await effects()).toEqual([1]);
  });

  test('twelve at once: one applies, and of each that was asked for it is kept what came of it', async () => {
    let broken = true;
    const begun = async () =>
      (await fixture.admin`SELECT FROM dead_letter_action WHERE note = 'begun'`).length;
    const { send, call } = service(() => (broken ? new PermanentError('no') : undefined), {
      // None is refused before it is noted.
      async during() {
        if (!broken) await eventually(async () => expect(await begun()).toBe(12));
      },
    });
    await send(placed(1));
    broken = false;
    const id = (await call('GET', '')).body.items[0].id;
    await Promise.all(Array.from({ length: 12 }, () => call('POST', `/${id}/redrive`)));
    const notes = (await call('GET', `/${id}`)).body.actions.map(({ note }: { note: string }) => note);
    expect(notes.sort()).toEqual([...Array.from({ length: 11 }, () => 'already_redriven'), 'applied']);
    expect(await effects()).toEqual([1]);
  });

  test('of what has its effect already changes nothing and says so', async () => {
    const { send, call } = service();
    await send(placed(1));
    await fixture.admin`UPDATE inbox SET outcome = 'applied'`;
    const id = (await call('GET', '')).body.items[0].id;
    expect((await call('POST', `/${id}/redrive`)).body).toEqual({ outcome: 'already_applied' });
    expect(await effects()).toEqual([]);
  });
});

describe('redrive of a message that somebody else has in hand', () => {
  /** A dead letter that was known by the hash of its bytes, and was mended: now it is message m8. */
  async function mended(o: Parameters<typeof service>[0]) {
    const { send, call } = service(o);
    await send('{"id": "m8"');
    const [{ id }] = (await call('GET', '')).body.items;
    await call('PUT', `/${id}/message`, { note: 'whole', envelope: JSON.parse(placed(8)) });
    return { send, call, id };
  }
  const oneWaits = () =>
    eventually(async () =>
      expect(
        await fixture.admin`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      ).toHaveLength(1),
    );

  /** A redrive while a transaction that has taken the message and had its effect has not committed. */
  async function changesNothingBeside(
    take: (tx: Transaction) => Promise<void>,
    redrive: () => Promise<{ body: unknown }>,
  ): Promise<void> {
    const commit = await openTransaction(fixture.database, async (tx) => {
      await take(tx);
      await tx.execute(sql`INSERT INTO effect VALUES (8)`);
    });
    const redriven = redrive();
    await oneWaits();
    await commit();
    expect((await redriven).body).toEqual({ outcome: 'already_applied' });
    expect(await effects()).toEqual([8]);
  }

  test('waits for a delivery of it that has not committed, and changes nothing then', async () => {
    const { call, id } = await mended(() => undefined);
    await changesNothingBeside(
      async (tx) => expect(await recordOnce(tx, 'orders', 'm8', 'applied')).toBe(true),
      () => call('POST', `/${id}/redrive`),
    );
  });

  test('and for a redrive of the same message that became a dead letter once more', async () => {
    let broken = true;
    const { send, call, id } = await mended(() => (broken ? new PermanentError('no') : undefined));
    await send(placed(8));
    broken = false;
    await changesNothingBeside(
      async (tx) => expect(await applyDead(tx, 'orders', 'm8')).toBe(true),
      () => call('POST', `/${id}/redrive`),
    );
  });
});

describe('a dead letter that holds its key', () => {
  async function held() {
    let broken = true;
    const { send, call } = service(() => (broken ? new PermanentError('no') : undefined));
    await send(step(1), 'commands.inventory');
    broken = false;
    for (const n of [2, 3]) await send(step(n), 'commands.inventory');
    expect(await effects()).toEqual([]);
    return { call, id: (await call('GET', '')).body.items[0].id };
  }

  test('lets the others go on when it is redriven, in order', async () => {
    const { call, id } = await held();
    expect((await call('POST', `/${id}/redrive`)).body).toEqual({ outcome: 'applied' });
    await eventually(async () => expect(await effects()).toEqual([1, 2, 3]));
  });

  test('and without it when it is discarded', async () => {
    const { call, id } = await held();
    expect((await call('POST', `/${id}/discard`, { note: 'cancelled by phone' })).body).toEqual({
      outcome: 'discarded',
    });
    await eventually(async () => expect(await effects()).toEqual([2, 3]));
    expect((await call('POST', `/${id}/redrive`)).body).toEqual({ outcome: 'already_discarded' });
    expect((await call('GET', `/${id}`)).body.actions).toMatchObject([
      { action: 'discard', note: 'cancelled by phone' },
    ]);
  });

  test('waits itself for those before it', async () => {
    let broken = true;
    const { send, call } = service(() => (broken ? new PermanentError('no') : undefined));
    await send(step(1), 'commands.inventory');
    const [first] = (await call('GET', '')).body.items;
    await fixture.admin`UPDATE dead_letter SET body = convert_to(replace(convert_from(body, 'UTF8'), '"sequence":"1"', '"sequence":"2"'), 'UTF8')`;
    broken = false;
    expect((await call('POST', `/${first.id}/redrive`)).body).toEqual({ outcome: 'parked' });
    expect(await effects()).toEqual([]);
  });

  test('waits for a decision again when it fails in its turn', async () => {
    const answers = [new PermanentError('no'), undefined, new PermanentError('still not')];
    const { send, call } = service(() => answers.shift());
    await send(step(1), 'commands.inventory');
    const [first] = (await call('GET', '')).body.items;
    await fixture.admin`UPDATE dead_letter SET body = convert_to(replace(convert_from(body, 'UTF8'), '"sequence":"1"', '"sequence":"2"'), 'UTF8')`;
    expect((await call('POST', `/${first.id}/redrive`)).body).toEqual({ outcome: 'parked' });
    await send(step(1).replace('"id":"s1"', '"id":"s0"'), 'commands.inventory');
    await eventually(async () =>
      expect((await call('GET', '')).body.items).toMatchObject([
        { id: first.id, state: 'waiting', detail: 'still not', sequence: '2' },
      ]),
    );
    await send(step(3), 'commands.inventory');
    expect(await effects()).toEqual([1]);
    await call('POST', `/${first.id}/discard`, { note: 'it never will' });
    await eventually(async () => expect(await effects()).toEqual([1, 3]));
  });
});

describe('edit', () => {
  test('puts other data in its place, keeps the bytes before, and is redriven under the same id', async () => {
    const { send, call } = service(() => undefined);
    await send(delivery('Placed', { n: 'seven' }, { id: 'm7', key: 'k' }));
    const [dead] = (await call('GET', '')).body.items;
    expect(dead.reason).toBe('schema');
    const edit = { note: 'the sender wrote a word', data: { n: 7 } };
    expect((await call('PUT', `/${dead.id}/message`, edit)).body).toEqual({ outcome: 'edited' });
    expect((await call('POST', `/${dead.id}/redrive`)).body).toEqual({ outcome: 'applied' });
    expect(await effects()).toEqual([7]);
    const [kept] =
      await fixture.admin`SELECT convert_from(before, 'UTF8') AS before FROM dead_letter_action WHERE action = 'edit'`;
    expect(JSON.parse(kept?.before).data).toEqual({ n: 'seven' });
  });

  test('mends an envelope that cannot be read; then it has the id that it says, once', async () => {
    const { send, call } = service(() => undefined);
    await send('{"id": "m8"');
    const [dead] = (await call('GET', '')).body.items;
    const envelope = JSON.parse(placed(8));
    const data = { note: 'half of it', data: { n: 8 } };
    expect((await call('PUT', `/${dead.id}/message`, data)).status).toBe(422);
    expect((await call('PUT', `/${dead.id}/message`, { note: 'whole', envelope })).status).toBe(200);
    expect((await call('POST', `/${dead.id}/redrive`)).body).toEqual({ outcome: 'applied' });
    await send(placed(8));
    expect(await effects()).toEqual([8]);
  });

  test('of a message as long as messages may be is taken, with its note; a longer one is not', async () => {
    const { send, call } = service(() => undefined);
    const text = 'x'.repeat(MAX_MESSAGE_BYTES - 1000);
    await send(delivery('Placed', { n: 'seven', text }, { id: 'm7', key: 'k' }));
    const [dead] = (await call('GET', '')).body.items;
    const put = (data: object) => call('PUT', `/${dead.id}/message`, { note: '\u0416'.repeat(500), data });
    expect(await put({ n: 7, text: text.repeat(2) })).toMatchObject({ status: 413 });
    expect(await put({ n: 7, text })).toMatchObject({ status: 200 });
    expect((await call('POST', `/${dead.id}/redrive`)).body).toEqual({ outcome: 'applied' });
    expect(await effects()).toEqual([7]);
  });

  test('does not make another message of it', async () => {
    const { send, call } = service();
    await send(placed(1));
    const [dead] = (await call('GET', '')).body.items;
    const envelope = { ...JSON.parse(placed(1)), id: 'other' };
    const answer = await call('PUT', `/${dead.id}/message`, { note: 'x', envelope });
    expect([answer.status, answer.body.errors]).toMatchObject([
      422,
      [{ detail: expect.stringContaining('must stay m1') }],
    ]);
  });

  test.each([
    ['its sender', { source: '/sidecart/other' }],
    ['its having a sender', { source: undefined }],
    ['its key', { partitionkey: 'l' }],
    ['its number', { sequence: '2' }],
  ])('does not move it to another place: %s stays, and what waits behind it goes on', async (_, other) => {
    let broken = true;
    const { send, call } = service(() => (broken ? new PermanentError('no') : undefined));
    const message = step(1);
    await send(message, 'commands.inventory');
    broken = false;
    await send(step(2), 'commands.inventory');
    const [dead] = (await call('GET', '')).body.items;
    const put = (change: object) =>
      call('PUT', `/${dead.id}/message`, { note: 'x', envelope: { ...JSON.parse(message), ...change } });
    expect(await put(other)).toMatchObject({
      status: 422,
      body: { errors: [{ detail: expect.stringContaining('must stay s1, /sidecart/test, k and 1') }] },
    });
    expect((await call('GET', `/${dead.id}`)).body).toMatchObject({ body: message, actions: [] });
    expect(await put({ data: { n: 10 } })).toMatchObject({ status: 200 });
    expect((await call('POST', `/${dead.id}/redrive`)).body).toEqual({ outcome: 'applied' });
    await eventually(async () => expect(await effects()).toEqual([2, 10]));
  });

  test('of a message that never came wants one of the place at which its key is held', async () => {
    const { send, call } = service(() => undefined);
    const topic = 'commands.inventory';
    await buryMessage(fixture.database.db, {
      ...{ topic, eventId: 'lost:test:k:1', type: undefined, key: 'k', body: new Uint8Array(), headers: {} },
      ...{ place: { topic, sender: 'test', key: 'k', seq: 1n }, holdsKey: true },
      ...{ reason: 'lost', detail: 'never came', attempts: 0 },
    });
    await send(step(2), topic);
    const [dead] = (await call('GET', '')).body.items;
    const put = (change: object) =>
      call('PUT', `/${dead.id}/message`, { note: 'x', envelope: { ...JSON.parse(step(1)), ...change } });
    for (const other of [{ source: '/sidecart/other' }, { partitionkey: 'l' }, { sequence: '2' }])
      expect(await put(other)).toMatchObject({
        status: 422,
        body: { errors: [{ detail: expect.stringContaining('must be test, k and 1') }] },
      });
    expect(await put({})).toMatchObject({ status: 200 });
    expect((await call('POST', `/${dead.id}/redrive`)).body).toEqual({ outcome: 'applied' });
    await eventually(async () => expect(await effects()).toEqual([1, 2]));
  });
});

describe('who asks', () => {
  const actors = async () =>
    (await fixture.admin`SELECT action, actor FROM dead_letter_action ORDER BY id`).map(
      ({ action, actor }) => `${action} by ${actor}`,
    );

  test('is kept as it was written, whatever the letters; who does not say is anonymous', async () => {
    const { send, callAs } = service();
    await send(placed(1));
    const [{ id }] = (await callAs({})('GET', '')).body.items;
    const by = (name: string) => callAs({ 'x-sidecart-actor': writeActor(name) });
    await by('José Ruiz')('POST', `/${id}/redrive`);
    await by('100%')('PUT', `/${id}/message`, { note: 'x', data: { n: 2 } });
    await callAs({})('POST', `/${id}/redrive`);
    await by('Łukasz')('POST', `/${id}/discard`, { note: 'x' });
    expect(await actors()).toEqual([
      'redrive by José Ruiz',
      'edit by 100%',
      'redrive by anonymous',
      'discard by Łukasz',
    ]);
  });

  test.each(['Ann Smith', 'JosÃ©', "UTF-8''a%00", 'a'.repeat(129), ''])(
    'and cannot be read (%j) changes nothing, and may look',
    async (header) => {
      const { send, callAs } = service();
      const message = placed(1);
      await send(message);
      const call = callAs({ 'x-sidecart-actor': header });
      const [{ id }] = (await call('GET', '')).body.items;
      for (const [method, path, body] of [
        ['POST', `/${id}/redrive`, undefined],
        ['POST', `/${id}/discard`, { note: 'x' }],
        ['PUT', `/${id}/message`, { note: 'x', data: { n: 2 } }],
      ] as const)
        expect([path, await call(method, path, body)]).toMatchObject([
          path,
          { status: 400, body: { code: 'actor_invalid', errors: [{ pointer: 'header:X-Sidecart-Actor' }] } },
        ]);
      expect((await call('GET', `/${id}`)).body).toMatchObject({
        state: 'waiting',
        body: message,
        actions: [],
      });
    },
  );
});

test('bad requests are told what is wrong', async () => {
  const { send, call } = service();
  await send(placed(1));
  const [{ id }] = (await call('GET', '')).body.items;
  const cases: [string, string, unknown, number, string][] = [
    ['GET', '?state=lost', undefined, 422, 'query:state'],
    ['GET', '?limit=0', undefined, 422, 'query:limit'],
    ['GET', '/x', undefined, 422, 'path:id'],
    ['POST', `/${id}/discard`, {}, 422, '/note'],
    ['POST', `/${id}/discard`, { note: ' ' }, 422, '/note'],
  ];
  for (const [method, path, body, status, pointer] of cases) {
    const answer = await call(method, path, body);
    expect([path, answer.status, answer.body.errors?.[0].pointer]).toEqual([path, status, pointer]);
  }
  expect((await call('PUT', `/${id}/message`, { note: 'x' })).status).toBe(422);
  for (const [method, path] of [
    ['GET', '/999'],
    ['POST', '/999/redrive'],
  ] as const)
    expect((await call(method, path)).status).toBe(404);
});

test('without the app token nothing is told', async () => {
  const { app } = service();
  expect((await app.request('/admin/dead-letters')).status).toBe(401);
});

test('a list reads nothing of the content', async () => {
  const statements: string[] = [];
  const watched = postgres(fixture.urls.url, {
    max: 1,
    debug: (_, statement) => void statements.push(statement),
  });
  const { send } = service();
  await send(placed(1));
  expect(await listDeadLetters(drizzle(watched), { state: 'waiting', limit: 200 })).toHaveLength(1);
  await watched.end();
  const read = statements.filter((statement) => statement.includes('dead_letter'));
  expect(read).toHaveLength(1);
  expect(read[0]).not.toMatch(/body|headers|\*/);
});

test.for([3, 4])('pages of 2 out of %i end, the last also when it is full', async (count) => {
  const { send, call } = service();
  for (let n = 1; n <= count; n++) await send(placed(n));
  const first = (await call('GET', '?limit=2')).body;
  const second = (await call('GET', `?limit=2&before=${first.next}`)).body;
  const newestFirst = Array.from({ length: count }, (_, n) => `m${count - n}`);
  expect([...first.items, ...second.items].map(({ event_id }) => event_id)).toEqual(newestFirst);
  expect(second.next).toBeNull();
});
