import { DaprError } from '@sidecart/kit/dapr';
import { callJson, untouchedDatabase } from '@sidecart/kit/testing';
import { describe, expect, test } from 'vitest';
import { archiveOf } from './archive.ts';
import { config } from './config.ts';
import { gbp, ordersService, priced } from './fixture-orders.ts';
import { openApiDocument } from './openapi.ts';
import { createGetQuotes } from './quotes.ts';
import { timeoutsOf } from './timeouts.ts';

const database = { ...untouchedDatabase(), onCommit: () => {} };
const { app } = ordersService(database, {
  getQuotes: () => Promise.reject(new Error('products was asked')),
});

/** What a service has to be told. */
const REQUIRED = {
  PORT: '8103',
  APP_ID: 'orders',
  DAPR_HTTP_PORT: '3500',
  DAPR_API_TOKEN: 'a'.repeat(16),
  APP_API_TOKEN: 'b'.repeat(16),
};

const line = (more: object = {}) => ({ ...priced('HEART', 1, 255), ...more });
const place = (body: unknown, headers: Record<string, string> = {}) =>
  callJson(app, 'POST', '/v1/orders', body, { 'idempotency-key': 'k', ...headers });
const id = 'ord_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42';
const post = (what: string, body: unknown, headers: Record<string, string> = { 'idempotency-key': 'k' }) =>
  callJson(app, 'POST', `/v1/orders/${id}/${what}`, body, headers);
const get = (path: string) => callJson(app, 'GET', path);

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
  [
    'a token of no shape',
    () => place({ lines: [line()], payment_token: '4111 1111 1111 1111' }),
    422,
    'validation_failed',
    ['/payment_token'],
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
  ['an id of no shape', () => get('/v1/orders/x'), 422, 'validation_failed', ['path:id']],
  [
    'an unknown field in a cancellation',
    () => post('cancel', { because: 'x' }),
    422,
    'validation_failed',
    ['/because'],
  ],
  [
    'a reason over 200 characters',
    () => post('cancel', { reason: 'x'.repeat(201) }),
    422,
    'validation_failed',
    ['/reason'],
  ],
  ['an amendment of nothing', () => post('amendments', { lines: [] }), 422, 'validation_failed', ['/lines']],
  [
    'an amendment to less than nothing, and at another price',
    () => post('amendments', { lines: [{ sku: 'HEART', quantity: -1, unit_price: gbp(1) }] }),
    422,
    'validation_failed',
    ['/lines/0/quantity', '/lines/0/unit_price'],
  ],
  ['a refund without a reason', () => post('refunds', {}), 422, 'validation_failed', ['/reason']],
  [
    'a refund of no pieces, and of an amount',
    () => post('refunds', { reason: 'x', amount: gbp(1), lines: [{ sku: 'HEART', quantity: 0 }] }),
    422,
    'validation_failed',
    ['/amount', '/lines/0/quantity'],
  ],
  [
    'a refund without a key',
    () => post('refunds', { reason: 'x' }, {}),
    400,
    'idempotency_key_missing',
    ['header:Idempotency-Key'],
  ],
  [
    'a settlement without a note, in a way that there is not, of a problem that there is not',
    () => post('settlement', { resolution: 'ignored', problem: 'rain' }),
    422,
    'validation_failed',
    ['/note', '/resolution', '/problem'],
  ],
  ['an unknown query parameter', () => get('/v1/orders?page=2'), 422, 'validation_failed', ['query:page']],
  [
    'a query parameter for one order',
    () => get(`/v1/orders/${id}?fields=lines`),
    422,
    'validation_failed',
    ['query:fields'],
  ],
  ['a moment of no shape', () => get(`/v1/orders/${id}?at=noon`), 422, 'validation_failed', ['query:at']],
  [
    'a query parameter for a history',
    () => get(`/v1/orders/${id}/history?limit=2`),
    422,
    'validation_failed',
    ['query:limit'],
  ],
  [
    'a query parameter for the dashboard',
    () => get('/v1/dashboard?day=1'),
    422,
    'validation_failed',
    ['query:day'],
  ],
  ['an unknown status', () => get('/v1/orders?status=packed'), 422, 'validation_failed', ['query:status']],
  [
    'a doubtful attention',
    () => get('/v1/orders?attention=1'),
    422,
    'validation_failed',
    ['query:attention'],
  ],
  ['a broken cursor', () => get('/v1/orders?cursor=%7b'), 422, 'validation_failed', ['query:cursor']],
  ['an unknown route', () => get('/v1/nothing'), 404, 'route_not_found', []],
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

test('a moment whose + was not encoded, which comes as a space, is answered with how to write it', async () => {
  const { body } = await get(`/v1/orders/${id}?at=2026-11-27T10:30:00+01:00`);
  expect(body.errors[0].detail).toMatch(/such as 2026-11-27T09:30:00Z .* %2B$/);
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

describe('the time that an order waits', () => {
  const MINUTE = 60_000;
  const DAY = 24 * 60 * MINUTE;
  const defaults = [
    ['RESERVE_TIMEOUT_MS', 15 * MINUTE],
    ['AUTHORISE_TIMEOUT_MS', 15 * MINUTE],
    ['ANSWER_TIMEOUT_MS', 15 * MINUTE],
    ['HAND_OVER_TIMEOUT_MS', 14 * DAY],
    ['DELIVER_TIMEOUT_MS', 30 * DAY],
  ] as const;

  test.each(defaults)('%s is %d, or what the environment says', (name, ms) => {
    const schema = config.shape[name];
    expect([schema.parse(undefined), schema.parse('1500')]).toEqual([ms, 1500]);
  });

  test('is that of its own step, and all answers to later questions share one', () => {
    const environment = Object.fromEntries(defaults.map(([name], i) => [name, String(i + 1)]));
    const times = timeoutsOf(config.parse({ ...REQUIRED, ...environment }));
    const { reserve, authorise, hand_over, deliver, ...answers } = times;
    expect({ reserve, authorise, hand_over, deliver }).toEqual({
      reserve: 1,
      authorise: 2,
      hand_over: 4,
      deliver: 5,
    });
    expect(answers).toEqual({ cancel: 3, amend: 3, capture: 3, void: 3, refund: 3 });
  });

  test.each(['0', '-1', '1.5', 'soon', ''])('is not %j', (text) => {
    for (const [name] of defaults) expect(config.shape[name].safeParse(text).success).toBe(false);
  });
});

test('what was condensed is kept in the database, or behind the binding that the environment names', async () => {
  const asked: string[] = [];
  const dapr = {
    async invokeBinding(component: string) {
      asked.push(component);
      throw new DaprError('unavailable', 'away');
    },
  };
  const archive = (environment: object) =>
    archiveOf(config.parse({ ...REQUIRED, ...environment }).ARCHIVE_BINDING, dapr);
  const content = Buffer.from('x');
  expect(await archive({}).put('a/1-2', content)).toBeUndefined();
  expect(asked).toEqual([]);
  expect(() => archive({ ARCHIVE_BINDING: '' })).toThrow();
  await expect(archive({ ARCHIVE_BINDING: 'archive-orders' }).put('a/1-2', content)).rejects.toThrow('away');
  expect(new Set(asked)).toEqual(new Set(['archive-orders']));
});

test('the OpenAPI document has every operation, with the header that it needs', () => {
  const { paths } = openApiDocument();
  expect(Object.keys(paths ?? {})).toEqual([
    '/v1/orders',
    '/v1/orders/{id}',
    '/v1/orders/{id}/history',
    '/v1/orders/{id}/cancel',
    '/v1/orders/{id}/amendments',
    '/v1/orders/{id}/refunds',
    '/v1/orders/{id}/settlement',
    '/v1/dashboard',
  ]);
  for (const path of ['/v1/orders', '/v1/orders/{id}/refunds'])
    expect(paths?.[path]?.post?.parameters).toMatchObject(
      expect.arrayContaining([expect.objectContaining({ name: 'Idempotency-Key', in: 'header' })]),
    );
});
