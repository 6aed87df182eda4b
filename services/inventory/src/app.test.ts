import { catalog } from '@sidecart/contracts/catalog';
import { callJson, testDeps, untouchedDatabase } from '@sidecart/kit/testing';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createOutbox } from '@sidecart/messaging/outbox';
import { describe, expect, test } from 'vitest';
import { createInventoryApp } from './app.ts';
import { openApiDocument } from './openapi.ts';
import { subscriptions } from './subscriptions.ts';

const deps = testDeps('inventory');
const database = untouchedDatabase();
const outbox = createOutbox({ service: 'inventory', catalog, owns: [] });
const consumer = createConsumer({ ...deps, database, topics: subscriptions(outbox) });
const app = createInventoryApp(deps, { database, outbox, consumer });

const receive = (body: unknown, headers: Record<string, string> = { 'idempotency-key': 'k' }) =>
  callJson(app, 'POST', '/v1/stock/receipts', body, headers);
const line = (more: object = {}) => ({ sku: 'HEART', quantity: 1, ...more });

/** What is sent, the status and code expected, and the places said to be at fault. Nothing of it reaches the database. */
const refused: [string, () => ReturnType<typeof receive>, number, string, string[]][] = [
  ['an unknown field', () => receive({ lines: [line()], when: 1 }), 422, 'validation_failed', ['/when']],
  [
    'absurd quantities',
    () => receive({ lines: [line({ quantity: 0 }), line({ quantity: -1 }), line({ quantity: 100_001 })] }),
    422,
    'validation_failed',
    ['/lines/0/quantity', '/lines/1/quantity', '/lines/2/quantity'],
  ],
  ['no lines', () => receive({ lines: [] }), 422, 'validation_failed', ['/lines']],
  [
    'a reference of 101 characters',
    () => receive({ reference: 'x'.repeat(101), lines: [line()] }),
    422,
    'validation_failed',
    ['/reference'],
  ],
  [
    'a product on two lines',
    () => receive({ lines: [line(), line({ sku: 'heart' }), line()] }),
    422,
    'duplicate_line',
    ['/lines/2/sku'],
  ],
  [
    'no key',
    () => receive({ lines: [line()] }, {}),
    400,
    'idempotency_key_missing',
    ['header:Idempotency-Key'],
  ],
  [
    'a SKU of no shape',
    () => callJson(app, 'GET', '/v1/stock/a%2fb'),
    422,
    'validation_failed',
    ['path:sku'],
  ],
  [
    'an unknown query parameter',
    () => callJson(app, 'GET', '/v1/stock?offset=1'),
    422,
    'validation_failed',
    ['query:offset'],
  ],
  [
    'a parameter for the stock of one product',
    () => callJson(app, 'GET', '/v1/stock/HEART?on=today'),
    422,
    'validation_failed',
    ['query:on'],
  ],
];

describe('refused before anything is stored', () => {
  test.each(refused)('%s', async (_, send, status, code, pointers) => {
    const answer = await send();
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    const faults: { pointer: string }[] = answer.body.errors;
    expect(new Set(faults.map(({ pointer }) => pointer))).toEqual(new Set(pointers));
  });
});

test('the OpenAPI document has every operation', () => {
  const { paths } = openApiDocument();
  expect(Object.keys(paths ?? {})).toEqual([
    '/v1/stock/receipts',
    '/v1/stock',
    '/v1/stock/{sku}',
    '/v1/stock/{sku}/movements',
  ]);
});
