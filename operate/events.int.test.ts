import { createApp } from '@sidecart/kit/app';
import { listen } from '@sidecart/kit/server';
import { testDeps } from '@sidecart/kit/testing';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { loadTopology } from '../generator/topology.ts';
import { tableArchive } from '../packages/event-sourcing/src/archive.ts';
import { mountEventStore } from '../packages/event-sourcing/src/event-store-routes.ts';
import { account, eventually, type Fixture, openFixture } from '../packages/event-sourcing/src/fixture.ts';
import { beginBuilding } from '../packages/event-sourcing/src/subscription.ts';
import { operatorsCommand } from './testing.ts';

// The command, in front of a service with a real event store, under the name of one of the shop's; others have none.

const services = loadTopology('topology.yaml')
  .services.filter(({ database }) => database)
  .map(({ name }) => name);

let fixture: Fixture;
beforeAll(async () => {
  fixture = await openFixture('operate_events');
});
afterAll(() => fixture?.close());
beforeEach(() => fixture.clear());

async function serve(mount: boolean): Promise<string> {
  const deps = testDeps();
  const projector = mount ? fixture.project() : undefined;
  const app = createApp({ ...deps, health: projector?.health ?? deps.health });
  if (projector)
    mountEventStore(app, {
      database: fixture.database,
      aggregates: [account],
      archive: tableArchive,
      topics: [],
      projector,
    });
  const server = await listen({ fetch: app.fetch, port: 0, host: '127.0.0.1' });
  onTestFinished(() => server.close(0));
  return `http://127.0.0.1:${server.port}`;
}

async function openShop(o: { without?: string } = {}) {
  const [orders, none] = await Promise.all([serve(true), serve(false)]);
  const processes = services
    .filter((name) => name !== o.without)
    .map((name) => ({ name, url: name === 'orders' ? orders : none }));
  return operatorsCommand('operate/events.ts', processes);
}

const filled = async (id: string, events: number) => {
  await fixture.fill(id, events);
  await eventually(async () =>
    expect((await fixture.balances()).find((row) => row.id === id)).toMatchObject({ events }),
  );
};

test('status, rebuild, history, show, condense, restore and adopt, one after the other', async () => {
  const events = await openShop();
  await filled('acc_1', 30);
  const status = await events('status');
  expect(status).toMatchObject({
    code: 0,
    out: expect.stringMatching(/orders +│ balances +│ 1 +│ 1 +│ live +│ 0/),
  });

  const rebuilt = await events('rebuild', 'balances');
  expect(rebuilt).toMatchObject({ code: 0, out: 'orders/balances: generation 2 is read from now on' });

  const condensed = await events('condense', 'acc_1', '--up-to', '20', '--reason', 'old');
  expect(condensed).toMatchObject({
    code: 0,
    out: expect.stringContaining('20 events up to version 20 gave way'),
  });
  const refused = await events('condense', 'acc_1', '--up-to', '20', '--reason', 'old');
  expect(refused.code).toBe(1);
  expect(refused.err).toMatch(/^orders refused: There are no two events.*\nCure: Nothing is to be done/);
  const history = await events('history', 'acc_1');
  expect(history.out).toContain('    1  ');
  expect(history.out).toContain('ana condensed 1 to 20: old');
  const restored = await events('restore', 'acc_1', '--reason', 'asked for');
  expect(restored).toMatchObject({
    code: 0,
    out: 'acc_1: versions 1 to 20 are back; all its events are there',
  });

  expect((await events('show', 'acc_1')).out).toContain('"balance": 29');
  const { out } = await events('history', 'acc_1', '--json');
  const shown = await events('show', 'acc_1', '--at', JSON.parse(out).events[0].at, '--json');
  expect(JSON.parse(shown.out)).toMatchObject({ version: 1, state: { balance: 0 } });

  expect((await events('adopt')).out).toBe('orders: nothing is of another server');
  await fixture.admin`UPDATE subscriptions SET origin = '1/1'`;
  expect((await events('status')).out).toContain('events -- adopt --service orders');
  const adopted = await events('adopt');
  expect(adopted.code).toBe(0);
  expect(adopted.out).toContain('took over 10 events; built anew: balances');
  expect(adopted.out).toMatch(/generation 3 is read from now on$/);
}, 120_000);

test('who decides is kept as it was typed, whatever the letters', async () => {
  const events = await openShop();
  await filled('acc_1', 5);
  const condensed = await events('condense', 'acc_1', '--reason', 'old', '--as', 'José Ruiz');
  expect(condensed).toMatchObject({ code: 0 });
  const restored = await events('restore', 'acc_1', '--reason', 'asked for', '--as', 'Łukasz');
  expect(restored).toMatchObject({ code: 0 });
  const [row] = await fixture.admin`SELECT condensed_by, restored_by FROM events_archive`;
  expect(row).toEqual({ condensed_by: 'José Ruiz', restored_by: 'Łukasz' });
});

describe('by policy', () => {
  test('it condenses what is closed, and tells what it did not', async () => {
    const events = await openShop();
    await filled('acc_1', 30);
    await fixture.run('acc_1', { type: 'Close' });
    await filled('acc_2', 30);
    await eventually(async () => expect((await fixture.balances())[0]).toMatchObject({ events: 31 }));
    const { code, out } = await events('condense', '--policy', '--age-days', '0', '--reason', 'old');
    expect({ code, out }).toEqual({
      code: 0,
      out: 'Condensed 1 stream, 31 events.\nLeft alone, as not closed: 1 stream.',
    });
  });
});

test('a read model that no code has is told of, and forgotten', async () => {
  const events = await openShop();
  await beginBuilding(fixture.database, 'gone', 1, { asked: true });
  expect((await events('status')).out).toContain('forget gone --service orders');
  expect(await events('forget', 'gone')).toMatchObject({
    code: 0,
    out: expect.stringContaining('is forgotten'),
  });
  const again = await events('forget', 'gone');
  expect(again).toMatchObject({ code: 1, err: expect.stringContaining('there are orders/balances') });
});

test('what cannot be is told with its cure, and nothing is done', async () => {
  const events = await openShop({ without: 'inventory' });
  const status = await events('status');
  expect(status).toMatchObject({ code: 1, err: expect.stringContaining('inventory is left out') });
  expect(await events('show', 'nothing')).toMatchObject({
    code: 1,
    err: expect.stringContaining('There is no stream nothing'),
  });
  expect(await events('status', '--service', 'products')).toMatchObject({
    code: 1,
    err: expect.stringContaining('products has no event store'),
  });
  expect(await events('status', '--service', 'gateway')).toMatchObject({
    code: 1,
    err: expect.stringContaining('no service with a database'),
  });
});

test.each([
  [[], 'Name a command'],
  [['constructor'], "Unknown command 'constructor'"],
  [['rebuild'], 'rebuild wants one NAME, got 0'],
  [['condense', 'a'], 'condense wants --reason'],
  [['condense', '--policy'], 'condense wants --reason'],
  [['condense', 'a', '--policy', '--reason', 'x'], 'not both'],
  [['condense', '--policy', '--reason', 'x', '--up-to', '5'], 'condense --policy takes no --up-to'],
  [['condense', 'a', '--reason', 'x', '--events', '5'], 'condense STREAM takes no --events'],
  [
    ['condense', 'a', '--reason', 'x', '--up-to', 'last'],
    "--up-to wants a whole number of 1 or more, not 'last'",
  ],
  [['restore', 'a'], 'restore wants --reason'],
  [['status', '--colour'], "Unknown option '--colour'"],
])('%j is a wrong use: told with the usage, exit code 2', async (args, fault) => {
  const command = ['local/bootstrap.mjs', 'operate/events.ts', ...args];
  const { exitCode, stderr } = await execa(process.execPath, command, { reject: false });
  expect(exitCode).toBe(2);
  expect(stderr).toContain(fault);
  expect(stderr).toContain('npm run events -- COMMAND');
});
