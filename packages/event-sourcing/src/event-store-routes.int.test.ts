import { writeActor } from '@sidecart/kit/actor';
import { createApp } from '@sidecart/kit/app';
import { isTransientDbError } from '@sidecart/kit/db';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ArchiveStore } from './archive.ts';
import { tableArchive } from './archive.ts';
import { ConcurrencyError, CondenseRefusedError } from './errors.ts';
import { mountEventStore } from './event-store-routes.ts';
import { account, eventually, type Fixture, openFixture } from './fixture.ts';
import { beginBuilding } from './subscription.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('event_routes');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

function service(o: { archive?: ArchiveStore; secret?: string[] } = {}) {
  const app = createApp(testDeps('accounts'));
  const projector = fixture.project();
  mountEventStore(app, {
    database: fixture.database,
    aggregates: [{ ...account, ...(o.secret && { secret: o.secret }) }],
    archive: o.archive ?? tableArchive,
    topics: ['accounts'],
    projector,
  });
  const callAs = (as: Record<string, string>) => (method: string, path: string, body?: unknown) =>
    callJson(app, method, `/admin/events${path}`, body, as);
  return { app, callAs, call: callAs({ 'x-sidecart-actor': 'ana' }) };
}

const reason = 'it is old';
const done = (id: string, events: number) =>
  eventually(async () =>
    expect((await fixture.balances()).find((row) => row.id === id)).toMatchObject({ events }),
  );

describe('projections', () => {
  it('are listed with how far they are, and rebuilt by name', async () => {
    const { call } = service();
    await fixture.fill('a', 3);
    await done('a', 3);
    await eventually(async () => {
      expect((await call('GET', '/projections')).body).toEqual({
        types: ['account'],
        names: ['balances'],
        items: [
          expect.objectContaining({
            name: 'balances',
            generation: 1,
            code_version: 1,
            state: 'live',
            behind: 0,
            foreign: false,
          }),
        ],
      });
    });
    expect((await call('POST', '/projections/balances/rebuild')).body).toEqual({ outcome: 'begun' });
    await eventually(async () => expect(await fixture.liveGeneration()).toBe(2));
    expect(await call('POST', '/projections/nothing/rebuild')).toMatchObject({
      status: 404,
      body: { code: 'unknown_projection' },
    });
  });

  it('that no code has any more are forgotten, and only those', async () => {
    const { call } = service();
    await beginBuilding(fixture.database, 'gone', 1, { asked: true });
    await fixture.fill('a', 3);
    await done('a', 3);
    expect(await call('POST', '/streams/a/condense', { reason })).toMatchObject({
      status: 409,
      body: { code: 'projection_behind', detail: expect.stringContaining('gone') },
    });
    expect(await call('DELETE', '/projections/balances')).toMatchObject({
      status: 409,
      body: { code: 'projection_in_use' },
    });
    expect((await call('DELETE', '/projections/gone')).body).toEqual({ outcome: 'forgotten' });
    expect((await call('DELETE', '/projections/gone')).status).toBe(404);
    // Its number stays taken: rows of it may be left, and would be added to.
    await beginBuilding(fixture.database, 'gone', 1, { asked: false });
    expect(
      await fixture.admin`SELECT FROM subscriptions WHERE name = 'gone' AND generation = 2`,
    ).toHaveLength(1);
    expect((await call('DELETE', '/projections/gone')).body).toEqual({ outcome: 'forgotten' });
    expect((await call('POST', '/streams/a/condense', { reason })).status).toBe(200);
  });
});

describe('a secret of a stream', () => {
  it('is in no history and no state, live, at a moment or condensed; and is when it is none', async () => {
    const { call } = service({ secret: ['owner'] });
    await fixture.fill('a', 3);
    await done('a', 3);
    const { body: before } = await call('GET', '/streams/a/history');
    expect(before.events[0].data).toEqual({ owner: '(not shown)' });
    const at = encodeURIComponent(new Date().toISOString());
    const paths = ['/streams/a', `/streams/a?at=${at}`, '/streams/a/history'];
    const texts = async (ask: typeof call) =>
      Promise.all(paths.map(async (path) => JSON.stringify((await ask('GET', path)).body)));
    expect((await texts(call)).join()).not.toContain('Ada');
    await call('POST', '/streams/a/condense', { reason });
    expect((await texts(call)).join()).not.toContain('Ada');
    for (const text of await texts(service().call)) expect(text).toContain('Ada');
  });
});

describe('a stream', () => {
  it('is condensed and restored by a person with a reason, and its history tells both', async () => {
    const { call } = service();
    await fixture.fill('acc/1', 5);
    await done('acc/1', 5);
    const path = `/streams/${encodeURIComponent('acc/1')}`;
    expect((await call('POST', `${path}/condense`, { reason, up_to: 3 })).body).toEqual({
      stream_id: 'acc/1',
      from_version: 1,
      to_version: 3,
      events: 3,
    });
    expect((await call('POST', `${path}/restore`, { reason: 'asked for' })).body).toMatchObject({
      more: 0,
      to_version: 3,
    });
    const { body } = await call('GET', `${path}/history`);
    expect(body).toMatchObject({ stream_id: 'acc/1', type: 'account' });
    expect(body.events[1]).toEqual({
      version: 2,
      at: expect.stringMatching(/^\d{4}-.*Z$/),
      type: 'Deposited',
      data: { pence: 1 },
      meta: { actor: 'system', command: 'Deposit' },
    });
    expect(body.condensings).toEqual([
      {
        from_version: 1,
        to_version: 3,
        events: 3,
        condensed_at: expect.stringMatching(/Z$/),
        condensed_by: 'ana',
        reason,
        restored_at: expect.stringMatching(/Z$/),
        restored_by: 'ana',
        restore_reason: 'asked for',
      },
    ]);
  });

  it('is shown as it is, and as it was at a moment', async () => {
    const { call } = service();
    await fixture.fill('a', 3);
    await done('a', 3);
    expect((await call('GET', '/streams/a')).body).toMatchObject({
      type: 'account',
      version: 3,
      state: { balance: 2 },
    });
    const { events } = (await call('GET', '/streams/a/history')).body;
    const { body } = await call('GET', `/streams/a?at=${encodeURIComponent(events[0].at)}`);
    expect(body).toMatchObject({ version: 1, state: { balance: 0 } });
    expect(await call('GET', '/streams/a?at=2000-01-01T00:00:00Z')).toMatchObject({
      status: 404,
      body: { code: 'no_stream' },
    });
  });

  it('is refused what cannot be, by a code of its own', async () => {
    const away: ArchiveStore = { put: async (name) => name, get: () => Promise.reject(new Error('away')) };
    const { call } = service({ archive: away });
    const refused = async (status: number, code: string, method: string, path: string, body?: unknown) =>
      expect([path, await call(method, path, body)]).toMatchObject([path, { status, body: { code } }]);
    await refused(404, 'no_stream', 'POST', '/streams/x/condense', { reason });
    await refused(404, 'no_stream', 'GET', '/streams/x');
    await refused(404, 'no_stream', 'GET', '/streams/x/history');
    await fixture.fill('a', 3);
    await done('a', 3);
    await refused(409, 'nothing_to_restore', 'POST', '/streams/a/restore', { reason });
    await call('POST', '/streams/a/condense', { reason });
    await refused(409, 'nothing_to_condense', 'POST', '/streams/a/condense', { reason });
    await refused(503, 'archive_unavailable', 'POST', '/streams/a/restore', { reason });
    await refused(503, 'archive_unavailable', 'GET', '/streams/a/history');
    await fixture.admin`UPDATE events SET schema_version = 9`;
    await refused(409, 'unknown_shape', 'GET', '/streams/a');
    await fixture.admin`UPDATE subscriptions SET origin = 'elsewhere'`;
    await fixture.fill('b', 3);
    await refused(409, 'foreign_position', 'POST', '/streams/b/condense', { reason });
    expect((await call('POST', '/adopt')).body).toEqual({ events: 4, projections: ['balances'] });
  });
});

describe('who asks', () => {
  const deciders = async () =>
    (await fixture.admin`SELECT condensed_by, restored_by FROM events_archive ORDER BY to_version`).map(
      (row) => ({ ...row }),
    );

  it('is kept as it was written, whatever the letters; who does not say is anonymous', async () => {
    const { callAs } = service();
    await fixture.fill('a', 5);
    await done('a', 5);
    const by = (name: string) => callAs({ 'x-sidecart-actor': writeActor(name) });
    await by('José Ruiz')('POST', '/streams/a/condense', { reason, up_to: 3 });
    await by('Łukasz')('POST', '/streams/a/restore', { reason });
    await callAs({})('POST', '/streams/a/condense', { reason });
    expect(await deciders()).toEqual([
      { condensed_by: 'José Ruiz', restored_by: 'Łukasz' },
      { condensed_by: 'anonymous', restored_by: null },
    ]);
  });

  it.each(['Ann Smith', 'JosÃ©', "UTF-8''a%00", 'a'.repeat(129), ''])(
    'and cannot be read (%j) changes nothing, and may look',
    async (header) => {
      const { callAs } = service();
      const call = callAs({ 'x-sidecart-actor': header });
      await fixture.fill('a', 5);
      await done('a', 5);
      for (const [method, path, body] of [
        ['POST', '/streams/a/condense', { reason }],
        ['POST', '/streams/a/restore', { reason }],
        ['POST', '/condense', { reason, age_days: 0, events: 2, closed: false }],
        ['POST', '/projections/balances/rebuild', undefined],
        ['DELETE', '/projections/gone', undefined],
        ['POST', '/adopt', undefined],
      ] as const)
        expect([path, await call(method, path, body)]).toMatchObject([
          path,
          { status: 400, body: { code: 'actor_invalid', errors: [{ pointer: 'header:X-Sidecart-Actor' }] } },
        ]);
      expect(await deciders()).toEqual([]);
      expect((await call('GET', '/streams/a')).body).toMatchObject({ version: 5 });
      expect((await call('GET', '/projections')).body.items).toHaveLength(1);
    },
  );
});

describe('condensing by policy', () => {
  it('is done page by page, with what was refused', async () => {
    const { call } = service();
    await fixture.fill('a', 30);
    await fixture.run('a', { type: 'Close' });
    await fixture.fill('b', 30);
    await done('a', 31);
    await done('b', 30);
    expect((await call('POST', '/condense', { reason })).body).toMatchObject({ condensed: 0, next: null });
    const { body } = await call('POST', '/condense', { reason, age_days: 0, events: 10, type: 'account' });
    expect(body).toEqual({ condensed: 1, events: 31, open: 1, refused: {}, next: null });
    expect(await call('POST', '/condense', { reason, type: 'other' })).toMatchObject({
      status: 422,
      body: { errors: [{ pointer: '/type' }] },
    });
  });
});

it('bad requests are told what is wrong', async () => {
  const { call } = service();
  await fixture.fill('a', 3);
  const cases: [string, string, unknown, string][] = [
    ['POST', '/streams/a/condense', {}, '/reason'],
    ['POST', '/streams/a/condense', { reason: ' ' }, '/reason'],
    ['POST', '/streams/a/condense', { reason, up_to: 0 }, '/up_to'],
    ['POST', '/streams/a/restore', { reason, force: true }, '/force'],
    ['POST', '/condense', { reason, events: 1 }, '/events'],
    ['GET', '/streams/a?at=yesterday', undefined, 'query:at'],
  ];
  for (const [method, path, body, pointer] of cases) {
    const answer = await call(method, path, body);
    expect([path, answer.status, answer.body.errors?.[0].pointer]).toEqual([path, 422, pointer]);
  }
});

it('without the app token nothing is told', async () => {
  const { app } = service();
  expect((await app.request('/admin/events/projections')).status).toBe(401);
});

it('a conflict of versions passes by itself, a refusal does not', () => {
  expect(isTransientDbError(new ConcurrencyError('a', 1))).toBe(true);
  expect(isTransientDbError(new CondenseRefusedError('no_stream', 'x'))).toBe(false);
});
