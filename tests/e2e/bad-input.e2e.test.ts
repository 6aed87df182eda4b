import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openShop } from './open-shop.ts';
import { type Answer, call, gbp, placeOrder, productWithStock, query, type Target } from './shop.ts';

let shop: Target;
let url: string;
let sku: string;

beforeAll(async () => {
  shop = await openShop();
  url = shop.gatewayUrl;
  sku = await productWithStock(url, 5);
});
afterAll(async () => {
  await shop?.stop();
});

const line = (more: object = {}) => ({ sku, quantity: 1, unit_price: gbp(250), ...more });
const order = (body: unknown, headers: Record<string, string> = {}) =>
  call(url, 'POST', '/v1/orders', {
    ...(typeof body === 'string' ? { raw: body } : { body }),
    headers: { 'idempotency-key': crypto.randomUUID(), ...headers },
  });

/** name, the request, the status and code expected, and where the fault is said to be (when it has a place). */
const cases: [string, () => Promise<Answer>, number, string, string?][] = [
  ['an unknown field', () => order({ lines: [line()], colour: 'red' }), 422, 'validation_failed', '/colour'],
  [
    'an unknown field in a line',
    () => order({ lines: [line({ gift: true })] }),
    422,
    'validation_failed',
    '/lines/0/gift',
  ],
  [
    'a wrong type',
    () => order({ lines: [line({ quantity: '1' })] }),
    422,
    'validation_failed',
    '/lines/0/quantity',
  ],
  ['a missing field', () => order({}), 422, 'validation_failed', '/lines'],
  ['no lines', () => order({ lines: [] }), 422, 'validation_failed', '/lines'],
  [
    'a negative quantity',
    () => order({ lines: [line({ quantity: -1 })] }),
    422,
    'validation_failed',
    '/lines/0/quantity',
  ],
  [
    'quantity zero',
    () => order({ lines: [line({ quantity: 0 })] }),
    422,
    'validation_failed',
    '/lines/0/quantity',
  ],
  [
    'an absurd quantity',
    () => order({ lines: [line({ quantity: 1e15 })] }),
    422,
    'validation_failed',
    '/lines/0/quantity',
  ],
  [
    'half a unit',
    () => order({ lines: [line({ quantity: 1.5 })] }),
    422,
    'validation_failed',
    '/lines/0/quantity',
  ],
  [
    'a fraction of a penny',
    () => order({ lines: [line({ unit_price: gbp(249.5) })] }),
    422,
    'validation_failed',
    '/lines/0/unit_price/amount',
  ],
  [
    'another currency',
    () => order({ lines: [line({ unit_price: { amount: 250, currency: 'XXX' } })] }),
    422,
    'validation_failed',
    '/lines/0/unit_price/currency',
  ],
  [
    'a NUL character',
    () => order({ lines: [line()], customer_id: 'a\u0000b' }),
    422,
    'validation_failed',
    '/customer_id',
  ],
  [
    'an unknown product',
    () => order({ lines: [line({ sku: 'NO-SUCH-THING' })] }),
    422,
    'unknown_product',
    '/lines/0/sku',
  ],
  ['duplicate lines', () => order({ lines: [line(), line()] }), 422, 'duplicate_line', '/lines/1/sku'],
  ['broken JSON', () => order('{"lines": ['), 400, 'malformed_json'],
  ['an array for an object', () => order('[]'), 422, 'validation_failed'],
  [
    'no body',
    () => call(url, 'POST', '/v1/orders', { headers: { 'idempotency-key': 'no-body' } }),
    422,
    'validation_failed',
    '/lines',
  ],
  [
    'a wrong content type',
    () => order('lines=1', { 'content-type': 'application/x-www-form-urlencoded' }),
    415,
    'unsupported_media_type',
  ],
  ['a huge body', () => order(`{"lines":"${'x'.repeat(2_000_000)}"}`), 413, 'payload_too_large'],
  [
    'a huge body that passes for a message',
    () => order(`{"lines":"${'x'.repeat(3_000_000)}"}`, { 'content-type': 'application/cloudevents+json' }),
    413,
    'payload_too_large',
  ],
  [
    'a message to an unknown route',
    () =>
      call(url, 'POST', '/nothing', {
        body: {},
        headers: { 'content-type': 'application/cloudevents+json' },
      }),
    404,
    'route_not_found',
  ],
  [
    'no idempotency key',
    () => call(url, 'POST', '/v1/orders', { body: { lines: [line()] } }),
    400,
    'idempotency_key_missing',
    'header:Idempotency-Key',
  ],
  [
    'an oversized idempotency key',
    () => order({ lines: [line()] }, { 'idempotency-key': 'k'.repeat(500) }),
    400,
    'idempotency_key_invalid',
    'header:Idempotency-Key',
  ],
  ['an unknown route', () => call(url, 'GET', '/v1/nothing'), 404, 'route_not_found'],
  [
    'a route of the inside',
    () => call(url, 'POST', '/v1/quotes', { body: { skus: [sku] } }),
    404,
    'route_not_found',
  ],
  [
    'a message from outside',
    () => call(url, 'POST', '/messages/orders', { body: {} }),
    404,
    'route_not_found',
  ],
  ['a wrong method', () => call(url, 'DELETE', '/v1/orders'), 405, 'method_not_allowed'],
  [
    'an unknown order',
    () => call(url, 'GET', '/v1/orders/ord_01990000-0000-7000-8000-000000000000'),
    404,
    'not_found',
  ],
  [
    'a query parameter for one order',
    () => call(url, 'GET', '/v1/orders/ord_01990000-0000-7000-8000-000000000000?fields=lines'),
    422,
    'validation_failed',
    'query:fields',
  ],
  [
    'a retirement with a field',
    () => call(url, 'POST', `/v1/products/${sku}/retire`, { body: { from: '2026-03-14' } }),
    422,
    'validation_failed',
    '/from',
  ],
  ['an id of no shape', () => call(url, 'GET', '/v1/orders/%00'), 422, 'validation_failed'],
  ['a traversal', () => call(url, 'GET', '/v1/orders/..%2f..%2fmetrics'), 422, 'validation_failed'],
  [
    'a broken cursor',
    () => call(url, 'GET', '/v1/orders?cursor=%7b'),
    422,
    'validation_failed',
    'query:cursor',
  ],
  [
    'a limit of nothing',
    () => call(url, 'GET', '/v1/orders?limit=-1'),
    422,
    'validation_failed',
    'query:limit',
  ],
  ['a limit in hex', () => call(url, 'GET', '/v1/stock?limit=0x10'), 422, 'validation_failed', 'query:limit'],
  [
    'an unknown order to cancel',
    () => call(url, 'POST', '/v1/orders/ord_01990000-0000-7000-8000-000000000000/cancel', { body: {} }),
    404,
    'not_found',
  ],
  [
    'a price in the future',
    () =>
      call(url, 'PUT', `/v1/products/${sku}/price`, {
        body: { unit_price: gbp(1), effective_on: '2999-01-01' },
      }),
    422,
    'validation_failed',
    '/effective_on',
  ],
  [
    'a price of a date that does not exist',
    () =>
      call(url, 'PUT', `/v1/products/${sku}/price`, {
        body: { unit_price: gbp(1), effective_on: '2020-02-30' },
      }),
    422,
    'validation_failed',
    '/effective_on',
  ],
  [
    'stock for an unknown product',
    () =>
      call(url, 'POST', '/v1/stock/receipts', {
        body: { lines: [{ sku: 'NO-SUCH-THING', quantity: 1 }] },
        headers: { 'idempotency-key': 'r1' },
      }),
    422,
    'unknown_product',
    '/lines/0/sku',
  ],
];

const rows = async () => {
  const counts: Record<string, string> = {};
  for (const [database, tables] of Object.entries({
    orders: ['orders', 'outbox', 'idempotency_key', 'dead_letter'],
    products: ['products', 'outbox', 'dead_letter'],
    inventory: ['stock_movements', 'outbox', 'idempotency_key', 'dead_letter'],
  }))
    for (const table of tables)
      counts[`${database}.${table}`] =
        (await query<{ n: string }>(shop, database, `SELECT count(*) AS n FROM ${table}`))[0]?.n ?? '?';
  return counts;
};

describe('bad input gets a problem document with a stable code and the place at fault', () => {
  test.each(cases)('%s', async (_name, send, status, code, pointer) => {
    const answer = await send();
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect({ status: answer.status, code: answer.body.code }).toEqual({ status, code });
    expect(answer.body).toMatchObject({
      type: `/problems/${code}`,
      status,
      title: expect.any(String),
      trace_id: expect.any(String),
    });
    if (pointer)
      expect(answer.body.errors.map((fault: { pointer: string }) => fault.pointer)).toContain(pointer);
    expect(answer.text).not.toMatch(/\bat .*:\d+:\d+|node_modules|\.ts\b|postgres|ECONN/);
    expect((await call(url, 'GET', `/problems/${code}`)).status).toBe(200);
  });

  test('and nothing of it is stored', async () => {
    const before = await rows();
    for (const [, send] of cases) await send();
    expect(await rows()).toEqual(before);
  });

  test('headers beyond all measure', async () => {
    const answer = await new Promise<{ status: number; type: string }>((done, fail) => {
      const req = request(
        new URL('/v1/orders', url),
        { headers: { 'x-much': 'x'.repeat(60_000) } },
        (res) => {
          res.resume();
          done({ status: res.statusCode ?? 0, type: String(res.headers['content-type']) });
        },
      );
      req.on('error', fail);
      req.end();
    });
    expect(answer).toEqual({ status: 431, type: 'application/problem+json' });
  });
});

describe('what needs no body works without one', () => {
  const post = (path: string, headers = {}) => call(url, 'POST', path, { headers });

  test('cancelling an order and retiring a product, without a body and its headers', async () => {
    const mine = await productWithStock(url, 1);
    const placed = await placeOrder(url, [{ sku: mine, quantity: 1 }]);
    const answer = await post(`/v1/orders/${placed.body.id}/cancel`);
    // Cancelled, or shipping is asked first if it is confirmed by now.
    expect([200, 202]).toContain(answer.status);
    const json = { 'content-type': 'application/json' };
    expect([200, 202]).toContain((await post(`/v1/orders/${placed.body.id}/cancel`, json)).status);
    const retired = await post(`/v1/products/${mine}/retire`);
    expect(retired).toMatchObject({ status: 200, body: { status: 'retired' } });
  });
});
