import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { ShopError } from '../local/shop-error.ts';
import { eventsOf, type ProjectionStatus, refusal, type StoreStatus } from './events-client.ts';
import { addPage, historyText, policyText, statusText } from './events-view.ts';
import { watchRebuild } from './events-watch.ts';

const item = (o: Partial<ProjectionStatus> = {}): ProjectionStatus => ({
  name: 'order_list',
  generation: 1,
  code_version: 1,
  state: 'live',
  behind: 0,
  built: 10,
  to_build: 10,
  foreign: false,
  ...o,
});
const store = (...items: ProjectionStatus[]): StoreStatus => ({
  types: ['order'],
  names: ['order_list'],
  items,
});
const status = (...items: ProjectionStatus[]) => statusText([{ service: 'orders', store: store(...items) }]);

describe('status', () => {
  test('has a row for each generation, and how far it is', () => {
    const text = status(
      item({ behind: 3 }),
      item({ generation: 2, code_version: 2, state: 'building', built: 40, to_build: 100, behind: 100_000 }),
    );
    expect(text).toMatch(/orders +│ order_list +│ 1 +│ 1 +│ live +│ 3 +│ +│/);
    expect(text).toMatch(/orders +│ order_list +│ 2 +│ 2 +│ building +│ 100000 or more +│ 40 of 100 +│/);
    expect(text).not.toContain('Cure');
  });

  test('tells what a person has to do, once', () => {
    const text = status(
      item({ foreign: true }),
      item({ foreign: true, generation: 2, state: 'building' }),
      item({ name: 'gone' }),
    );
    expect(text.match(/adopt --service orders/g)).toHaveLength(1);
    expect(text).toContain('forget gone --service orders');
    expect(status(item({ name: 'gone', state: 'retired' }))).not.toContain('forget gone');
    expect(status()).toContain('There is no read model yet');
    expect(status()).toContain('orders/order_list: has not been built yet');
  });
});

test('a history tells who, what and why, and who condensed and restored it', () => {
  const text = historyText({
    stream_id: 'ord_1',
    type: 'order',
    events: [
      {
        version: 1,
        at: '2026-11-27T09:30:00.000Z',
        type: 'OrderPlaced',
        data: { lines: [] },
        meta: { actor: 'customer:7', command: 'Place', requestId: 'r1', traceparent: '00-abc-def-01' },
      },
    ],
    condensings: [
      {
        from_version: 1,
        to_version: 9,
        events: 9,
        condensed_at: '2026-12-01T00:00:00.000Z',
        condensed_by: 'ana',
        reason: 'old',
        restored_at: '2026-12-02T00:00:00.000Z',
        restored_by: 'bob',
        restore_reason: 'a question',
      },
    ],
  });
  expect(text.split('\n')).toEqual([
    'order ord_1',
    '    1  2026-11-27T09:30:00.000Z  OrderPlaced {"lines":[]}',
    '       customer:7, by Place, request r1, trace abc',
    '2026-12-01T00:00:00.000Z  ana condensed 1 to 9: old',
    '2026-12-02T00:00:00.000Z  bob restored them: a question',
  ]);
});

test('pages of a policy add up, by the code of the refusal', () => {
  const page = (streams: number, example: string) => ({
    condensed: 1,
    events: 20,
    open: 2,
    refused: { message_kept: { streams, example } },
    next: null,
  });
  const all = addPage(addPage({ condensed: 0, events: 0, open: 0, refused: {} }, page(1, 'a')), page(2, 'b'));
  expect(policyText(all).split('\n')).toEqual([
    'Condensed 2 streams, 40 events.',
    'Left alone, as not closed: 4 streams.',
    'Refused, message kept: 3 streams, such as a.',
  ]);
  expect(policyText({ condensed: 0, events: 0, open: 0, refused: {} })).toBe(
    'Condensed 0 streams, 0 events.',
  );
});

test('a refusal is told in the words of the service, with the cure of its code', () => {
  const body = JSON.stringify({
    code: 'foreign_position',
    title: 'The database was restored',
    detail: 'So it is',
  });
  const error = refusal('orders', 409, body);
  expect(error).toBeInstanceOf(ShopError);
  expect([error.message, error.cure]).toEqual([
    'orders refused: The database was restored; So it is',
    'npm run events -- adopt.',
  ]);
  expect(refusal('orders', 502, '<html>').message).toBe('orders refused: 502 <html>');
  expect(refusal('orders', 401, '{"title":"No"}').cure).toContain('another start');
});

test('a service that takes a question and gives no answer is not to be asked the same once more', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  try {
    await once(silent, 'listening');
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const client = eventsOf('orders', { url, token: 'x', close() {} }, 'me', 50);
    await expect(client.status()).rejects.toMatchObject({
      message: 'orders has not answered within 0.05 s',
      cure: 'look at its log, and at what its /healthz says',
    });
    // What changes something may still be at work, which the status shows.
    await expect(client.forget('order_list')).rejects.toMatchObject({
      cure: expect.stringContaining('events -- status'),
    });
  } finally {
    silent.closeAllConnections();
    silent.close();
  }
});

test('a service that ends while it is asked for a change may have made it', async () => {
  const dying = createServer(({ socket }) => void socket.destroy()).listen(0, '127.0.0.1');
  try {
    await once(dying, 'listening');
    const url = `http://127.0.0.1:${(dying.address() as AddressInfo).port}`;
    const client = eventsOf('orders', { url, token: 'x', close() {} }, 'me');
    await expect(client.forget('order_list')).rejects.toMatchObject({
      message: `The connection to orders at ${url} ended before it answered`,
      cure: expect.stringContaining('events -- status'),
    });
    await expect(client.status()).rejects.toMatchObject({ message: `orders does not answer at ${url}` });
  } finally {
    dying.close();
  }
});

describe('the watch of a rebuild', () => {
  const quick = { lookEveryMs: 1, troubledMs: 20, stalledMs: 60 };
  const client = (looks: ProjectionStatus[][], trouble?: string) => ({
    service: 'orders',
    client: {
      status: async () => store(...((looks.length > 1 ? looks.shift() : looks[0]) as ProjectionStatus[])),
      trouble: async () => trouble,
    },
  });
  const building = (built: number) => item({ generation: 2, state: 'building', built });

  test('ends when the new rows are read', async () => {
    const looks = [[item(), building(0)], [item(), building(7)], [item({ generation: 2 })]];
    expect(await watchRebuild(client(looks), 'order_list', quick)).toBe(
      'orders/order_list: generation 2 is read from now on',
    );
  });

  test('waits for the build of an adopted database to begin', async () => {
    const looks = [
      [item({ code_version: 0 })],
      [item({ code_version: 0 }), building(1)],
      [item({ generation: 2 })],
    ];
    expect(await watchRebuild(client(looks), 'order_list', quick)).toContain('generation 2');
  });

  test('says why it does not go on, or that nobody knows', async () => {
    const stuck = [[item(), building(3)]];
    await expect(watchRebuild(client(stuck, 'a bug'), 'order_list', quick)).rejects.toThrow('a bug');
    await expect(watchRebuild(client(stuck), 'order_list', quick)).rejects.toThrow('nothing more');
    const given = [[building(3)], []];
    await expect(watchRebuild(client(given), 'order_list', quick)).rejects.toThrow(
      'not being built any more',
    );
  });
});
