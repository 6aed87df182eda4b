import { catalog } from '@sidecart/contracts/catalog';
import { DaprError } from '@sidecart/kit/dapr';
import { callJson, testDeps, untouchedDatabase } from '@sidecart/kit/testing';
import { createConsumer } from '@sidecart/messaging/consumer';
import { createOutbox } from '@sidecart/messaging/outbox';
import { describe, expect, test } from 'vitest';
import { createOrdersApp } from './app.ts';
import { config } from './config.ts';
import { openApiDocument } from './openapi.ts';
import { createGetQuotes } from './quotes.ts';
import { subscriptions } from './subscriptions.ts';

const deps = testDeps('orders');
const database = untouchedDatabase();
const outbox = createOutbox({ service: 'orders', catalog, owns: [] });
const clock = () => new Date();
const app = createOrdersApp(deps, {
  database,
  outbox,
  getQuotes: () => Promise.reject(new Error('products was asked')),
  clock,
  orderTimeoutMs: 1000,
  consumer: createConsumer({ ...deps, database, topics: subscriptions(outbox, clock) }),
});

const gbp = (amount: number) => ({ amount, currency: 'GBP' });
const line = (more: object = {}) => ({ sku: 'HEART', quantity: 1, unit_price: gbp(255), ...more });
const place = (body: unknown, headers: Record<string, string> = {}) =>
  callJson(app, 'POST', '/v1/orders', body, { 'idempotency-key': 'k', ...headers });
const id = 'ord_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42';

/** What is sent, the status and code expected, and the places said to be at fault. Nothing of it reaches the database. */
const refused: [string, () => ReturnType<typeof place>, number, string, string[]][] = [
  ['an unknown field', () => place({ lines: [line()], colour: 1 }), 422, 'validation_failed', ['/colour']],
  [
    'an unknown field in a line and in its price',
    () => place({ lines: [line({ gift: true, unit_price: { ...gbp(1), per: 'box' } })] }),
    422,
    'validation_failed',
    ['/lines/0/gift', '/lines/0/unit_price/per'],
  ],
  ['no lines', () => place({ lines: [] }), 422, 'validation_failed', ['/lines']],
  ['501 lines', () => place({ lines: Array(501).fill(line()) }), 422, 'validation_failed', ['/lines']],
  [
    'absurd quantities',
    () =>
      place({
        lines: [
          line({ quantity: 0 }),
          line({ quantity: -3 }),
          line({ quantity: 100_001 }),
          line({ quantity: 1.5 }),
          line({ quantity: '2' }),
          line({ quantity: 1e300 }),
        ],
      }),
    422,
    'validation_failed',
    [0, 1, 2, 3, 4, 5].map((i) => `/lines/${i}/quantity`),
  ],
  [
    'absurd prices',
    () =>
      place({
        lines: [
          line({ unit_price: gbp(-1) }),
          line({ unit_price: gbp(0) }),
          line({ unit_price: gbp(2.5) }),
          line({ unit_price: gbp(100_000_001) }),
        ],
      }),
    422,
    'validation_failed',
    [0, 1, 2, 3].map((i) => `/lines/${i}/unit_price/amount`),
  ],
  [
    'another currency',
    () => place({ lines: [line({ unit_price: { amount: 1, currency: 'EUR' } })] }),
    422,
    'validation_failed',
    ['/lines/0/unit_price/currency'],
  ],
  [
    'a SKU of no shape',
    () => place({ lines: [line({ sku: '../x' })] }),
    422,
    'validation_failed',
    ['/lines/0/sku'],
  ],
  ['a NUL', () => place({ lines: [line()], customer_id: 'a\0' }), 422, 'validation_failed', ['/customer_id']],
  ['an array', () => place([]), 422, 'validation_failed', ['']],
  ['broken JSON', () => place('{"lines":'), 400, 'malformed_json', []],
  [
    'a wrong content type',
    () => place('a=b', { 'content-type': 'application/x-www-form-urlencoded' }),
    415,
    'unsupported_media_type',
    ['header:Content-Type'],
  ],
  [
    'no body',
    () => callJson(app, 'POST', '/v1/orders', undefined, { 'idempotency-key': 'k' }),
    422,
    'validation_failed',
    ['/lines'],
  ],
  ['a huge body', () => place(`{"lines":"${'x'.repeat(300_000)}"}`), 413, 'payload_too_large', []],
  [
    'no key',
    () => callJson(app, 'POST', '/v1/orders', { lines: [line()] }),
    400,
    'idempotency_key_missing',
    ['header:Idempotency-Key'],
  ],
  [
    'a key of 129 characters',
    () => place({ lines: [line()] }, { 'idempotency-key': 'k'.repeat(129) }),
    400,
    'idempotency_key_invalid',
    ['header:Idempotency-Key'],
  ],
  ['an id of no shape', () => callJson(app, 'GET', '/v1/orders/x'), 422, 'validation_failed', ['path:id']],
  [
    'an unknown field in a cancellation',
    () => callJson(app, 'POST', `/v1/orders/${id}/cancel`, { because: 'x' }),
    422,
    'validation_failed',
    ['/because'],
  ],
  [
    'a reason over 200 characters',
    () => callJson(app, 'POST', `/v1/orders/${id}/cancel`, { reason: 'x'.repeat(201) }),
    422,
    'validation_failed',
    ['/reason'],
  ],
  [
    'an unknown query parameter',
    () => callJson(app, 'GET', '/v1/orders?page=2'),
    422,
    'validation_failed',
    ['query:page'],
  ],
  [
    'a query parameter for one order',
    () => callJson(app, 'GET', `/v1/orders/${id}?fields=lines`),
    422,
    'validation_failed',
    ['query:fields'],
  ],
  [
    'an unknown status',
    () => callJson(app, 'GET', '/v1/orders?status=lost'),
    422,
    'validation_failed',
    ['query:status'],
  ],
  [
    'a broken cursor',
    () => callJson(app, 'GET', '/v1/orders?cursor=%7b'),
    422,
    'validation_failed',
    ['query:cursor'],
  ],
  ['an unknown route', () => callJson(app, 'GET', '/v1/nothing'), 404, 'route_not_found', []],
  ['a wrong method', () => callJson(app, 'DELETE', '/v1/orders'), 405, 'method_not_allowed', []],
  [
    'no app token',
    () => callJson(app, 'GET', '/v1/orders', undefined, { 'dapr-api-token': '' }),
    401,
    'app_token_required',
    [],
  ],
];

describe('refused before anything is stored or asked', () => {
  test.each(refused)('%s', async (_, send, status, code, pointers) => {
    const answer = await send();
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect([answer.status, answer.body.code, answer.body.type]).toEqual([status, code, `/problems/${code}`]);
    const faults: { pointer: string }[] = answer.body.errors ?? [];
    expect(new Set(faults.map(({ pointer }) => pointer))).toEqual(new Set(pointers));
  });
});

describe('asking products for prices', () => {
  const invoke = async (outcome: { status: number; body: unknown } | Error) => {
    const getQuotes = createGetQuotes(
      {
        invoke: async () => {
          if (outcome instanceof Error) throw outcome;
          const body = JSON.stringify(outcome.body);
          return { status: outcome.status, headers: new Headers(), body, json: () => JSON.parse(body) };
        },
      },
      100,
    );
    return getQuotes(['HEART']);
  };

  test('reads what it needs and ignores what it does not know', async () => {
    const item = {
      sku: 'HEART',
      name: 'Heart',
      status: 'active',
      unit_price: gbp(255),
      version: 1,
      hue: 'red',
    };
    expect(await invoke({ status: 200, body: { items: [item], unknown: [] } })).toEqual([
      { sku: 'HEART', status: 'active', unitPrice: gbp(255) },
    ]);
  });

  test.each([
    ['a timeout', new DaprError('timeout', 'late')],
    ['products away', new DaprError('unavailable', 'away')],
    ['a 503', { status: 503, body: {} }],
    ['an answer of another shape', { status: 200, body: { prices: [] } }],
  ])('%s is products_unavailable', async (_, outcome) => {
    await expect(invoke(outcome)).rejects.toMatchObject({
      code: 'products_unavailable',
      retryAfterSeconds: 1,
    });
  });
});

describe('the time that an order waits for its stock', () => {
  const read = (ORDER_TIMEOUT_MS?: string) => config.shape.ORDER_TIMEOUT_MS.safeParse(ORDER_TIMEOUT_MS).data;

  test('is 15 minutes, or what the environment says', () => {
    expect([read(), read('1500')]).toEqual([900_000, 1500]);
  });

  test.each(['0', '-1', '1.5', 'soon', ''])('is not %j', (text) => {
    expect(read(text)).toBeUndefined();
  });
});

test('the OpenAPI document has every operation, with the header that it needs', () => {
  const { paths } = openApiDocument();
  expect(Object.keys(paths ?? {})).toEqual(['/v1/orders', '/v1/orders/{id}', '/v1/orders/{id}/cancel']);
  expect(paths?.['/v1/orders']?.post?.parameters).toMatchObject([{ name: 'Idempotency-Key', in: 'header' }]);
});
