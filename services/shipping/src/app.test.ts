import { catalog } from '@sidecart/contracts/catalog';
import { callJson, testDeps, untouchedDatabase } from '@sidecart/kit/testing';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createOutbox } from '@sidecart/messaging/outbox';
import { describe, expect, test } from 'vitest';
import { createShippingApp } from './app.ts';
import { openApiDocument } from './openapi.ts';
import { subscriptions } from './subscriptions.ts';

const deps = testDeps('shipping');
const database = untouchedDatabase();
const outbox = createOutbox({ service: 'shipping', catalog, owns: [] });
const clock = () => new Date();
const consumer = createConsumer({ ...deps, database, topics: subscriptions(outbox, clock) });
const app = createShippingApp(deps, { database, outbox, clock, consumer });

const path = '/v1/shipments/shp_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42';
const pack = (body: unknown, headers: Record<string, string> = { 'idempotency-key': 'k' }) =>
  callJson(app, 'POST', `${path}/packages`, body, headers);
const handOver = (body: unknown) => callJson(app, 'POST', `${path}/hand-over`, body);
const line = (more: object = {}) => ({ sku: 'HEART', quantity: 1, ...more });

/** What is sent, the status and code expected, and the places said to be at fault. Nothing of it reaches the database. */
const refused: [string, () => ReturnType<typeof pack>, number, string, string[]][] = [
  [
    'an unknown field in a package and its line',
    () => pack({ box: 'L', lines: [line({ gift: true })] }),
    422,
    'validation_failed',
    ['/box', '/lines/0/gift'],
  ],
  [
    'absurd quantities',
    () => pack({ lines: [line({ quantity: 0 }), line({ quantity: -1 }), line({ quantity: 100_001 })] }),
    422,
    'validation_failed',
    ['/lines/0/quantity', '/lines/1/quantity', '/lines/2/quantity'],
  ],
  ['an empty list of lines', () => pack({ lines: [] }), 422, 'validation_failed', ['/lines']],
  ['a weight of nothing', () => pack({ weight_grams: 0 }), 422, 'validation_failed', ['/weight_grams']],
  ['no key', () => pack({}, {}), 400, 'idempotency_key_missing', ['header:Idempotency-Key']],
  ['no carrier', () => handOver({ tracking: 'AB1' }), 422, 'validation_failed', ['/carrier']],
  [
    'a carrier of 61 characters',
    () => handOver({ carrier: 'x'.repeat(61) }),
    422,
    'validation_failed',
    ['/carrier'],
  ],
  [
    'a carrier with a line break',
    () => handOver({ carrier: 'Royal\nMail' }),
    422,
    'validation_failed',
    ['/carrier'],
  ],
  [
    'a loss without a reason',
    () => callJson(app, 'POST', `${path}/lose`, {}),
    422,
    'validation_failed',
    ['/reason'],
  ],
  [
    'the id of an order',
    () => callJson(app, 'GET', path.replace('shp_', 'ord_')),
    422,
    'validation_failed',
    ['path:id'],
  ],
  [
    'an unknown query parameter',
    () => callJson(app, 'GET', '/v1/shipments?carrier=DPD'),
    422,
    'validation_failed',
    ['query:carrier'],
  ],
  [
    'an unknown status, and an order of no shape',
    () => callJson(app, 'GET', '/v1/shipments?status=none&order_id=1'),
    422,
    'validation_failed',
    ['query:status', 'query:order_id'],
  ],
  [
    'a parameter for one shipment',
    () => callJson(app, 'GET', `${path}?x=1`),
    422,
    'validation_failed',
    ['query:x'],
  ],
  [
    'a broken cursor',
    () => callJson(app, 'GET', '/v1/shipments?cursor=%7b'),
    422,
    'validation_failed',
    ['query:cursor'],
  ],
  ['a wrong method', () => callJson(app, 'DELETE', path), 405, 'method_not_allowed', []],
];

describe('refused before anything is stored', () => {
  test.each(refused)('%s', async (_, send, status, code, pointers) => {
    const answer = await send();
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    const faults: { pointer: string }[] = answer.body.errors ?? [];
    expect(new Set(faults.map(({ pointer }) => pointer))).toEqual(new Set(pointers));
  });
});

test('the OpenAPI document has every operation, with the header that it needs', () => {
  const { paths } = openApiDocument();
  expect(Object.keys(paths ?? {})).toEqual([
    '/v1/shipments',
    '/v1/shipments/{id}',
    '/v1/shipments/{id}/packages',
    '/v1/shipments/{id}/hand-over',
    '/v1/shipments/{id}/deliver',
    '/v1/shipments/{id}/lose',
  ]);
  expect(paths?.['/v1/shipments/{id}/packages']?.post?.parameters).toContainEqual(
    expect.objectContaining({ name: 'Idempotency-Key', in: 'header' }),
  );
});
