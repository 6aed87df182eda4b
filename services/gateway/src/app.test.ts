import { PUBLIC_ROUTES } from '@sidecart/contracts/topology.generated';
import { currentContext, type RequestContext } from '@sidecart/kit/context';
import { DaprError, type InvokeRequest } from '@sidecart/kit/dapr';
import { callJson, testDeps } from '@sidecart/kit/testing';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { createGatewayApp } from './app.ts';
import { createGetProductNames } from './product-names.ts';

interface Behind {
  status?: number;
  headers?: Record<string, string>;
  body?: unknown;
}

let asked: { appId: string; request: InvokeRequest; context: RequestContext | undefined }[];
let answers: Record<string, (request: InvokeRequest) => Behind>;
let now: number;
let app: ReturnType<typeof createGatewayApp>;

beforeEach(() => {
  asked = [];
  answers = {};
  now = 0;
  const dapr = {
    invoke: async (appId: string, request: InvokeRequest) => {
      asked.push({ appId, request, context: currentContext() });
      const { status = 200, headers = {}, body = {} } = answers[appId]?.(request) ?? {};
      const text = JSON.stringify(body);
      const type = status < 400 ? 'application/json' : 'application/problem+json';
      return {
        status,
        headers: new Headers({ 'content-type': type, ...headers }),
        body: text,
        json: () => JSON.parse(text),
      };
    },
  };
  const deps = testDeps('gateway');
  const getProductNames = createGetProductNames({ dapr, log: deps.log, timeoutMs: 50, now: () => now });
  app = createGatewayApp(deps, { dapr, getProductNames });
});

/** A request from outside: without the app token. */
const ask = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  callJson(app, method, path, body, { 'dapr-api-token': '', ...headers });

const id = 'ord_0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42';
const gbp = (amount: number) => ({ amount, currency: 'GBP' });
const order = {
  id,
  status: 'confirmed',
  lines: [
    { sku: 'HEART', quantity: 1, unit_price: gbp(255), line_total: gbp(255) },
    { sku: 'LANTERN', quantity: 1, unit_price: gbp(100), line_total: gbp(100) },
  ],
  total: gbp(355),
  placed_at: '2026-03-14T09:26:53.589Z',
  updated_at: '2026-03-14T09:26:53.589Z',
};
const quotes = {
  items: [{ sku: 'HEART', name: 'White heart', status: 'active', unit_price: gbp(255), version: 1 }],
  unknown: ['LANTERN'],
};

describe('passing on', () => {
  test.each(PUBLIC_ROUTES)('$method $path goes to $service', async ({ method, path, service, timeoutMs }) => {
    const real = path.replace('{id}', id).replace('{sku}', '85123A');
    await ask(method, real, method === 'GET' ? undefined : {});
    expect(asked[0]).toMatchObject({ appId: service, request: { method, path: real, timeoutMs } });
  });

  test('takes the body, the safe headers and the query along, and nothing else', async () => {
    await ask(
      'POST',
      '/v1/orders?a=1&b=x%26y%3D2&a=3',
      { lines: [] },
      {
        'idempotency-key': 'k1',
        accept: 'application/json',
        cookie: 'secret=1',
        authorization: 'Bearer x',
        'x-sidecart-actor': 'root',
        'x-sidecart-customer-id': '1',
        'dapr-app-id': 'inventory',
        'dapr-caller-app-id': 'orders',
        'x-forwarded-for': '1.2.3.4',
      },
    );
    expect(asked[0]?.request).toEqual({
      method: 'POST',
      path: '/v1/orders?a=1&a=3&b=x%26y%3D2',
      headers: { 'content-type': 'application/json', accept: 'application/json', 'idempotency-key': 'k1' },
      body: '{"lines":[]}',
      timeoutMs: 5000,
    });
  });

  test('a signature reaches the one operation that verifies it, with the body byte for byte, and no other', async () => {
    const signed = { 'webhook-id': 'msg_1', 'webhook-timestamp': '1', 'webhook-signature': 'v1,x' };
    const body = '{ "type":"x",\n "data" : "\u00e4\\u00e4" }';
    await ask('POST', '/v1/payments/webhooks', body, signed);
    expect(asked[0]).toMatchObject({
      appId: 'payments',
      request: { path: '/v1/payments/webhooks', body, headers: signed },
    });
    await ask('POST', '/v1/orders', {}, signed);
    for (const name of Object.keys(signed)) expect(asked[1]?.request.headers).not.toHaveProperty(name);
  });

  test('everybody is anonymous, even with the token of the app and a name', async () => {
    const names = { 'x-sidecart-actor': 'root', 'x-sidecart-customer-id': '1' };
    await callJson(app, 'GET', '/v1/orders', undefined, names);
    expect(asked[0]?.context).toEqual({
      actor: 'anonymous',
      requestId: expect.any(String),
      traceparent: expect.any(String),
    });
  });

  test('keeps trace and request id', async () => {
    const answer = await ask('GET', '/v1/orders', undefined, {
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      'x-request-id': 'r-1',
    });
    expect(answer.headers.get('x-request-id')).toBe('r-1');
    expect(asked[0]?.context?.requestId).toBe('r-1');
    expect(asked[0]?.context?.traceparent).toContain('4bf92f3577b34da6a3ce929d0e0e4736');
  });

  test('gives back status, body and the safe headers', async () => {
    answers.orders = () => ({
      status: 409,
      headers: {
        location: '/v1/orders/x',
        'retry-after': '3',
        'idempotency-replayed': 'true',
        'x-internal': '1',
      },
      body: { code: 'price_changed' },
    });
    const answer = await ask('POST', '/v1/orders', {});
    expect([answer.status, answer.body]).toEqual([409, { code: 'price_changed' }]);
    expect(Object.fromEntries(answer.headers)).toEqual({
      'content-type': 'application/problem+json',
      location: '/v1/orders/x',
      'retry-after': '3',
      'idempotency-replayed': 'true',
      'x-request-id': expect.any(String),
    });
  });

  test.each([
    ['/v1/orders/..%2f..%2fmetrics', 'path:id'],
    ['/v1/orders/%2e%2e%2fmetrics/cancel', 'path:id'],
    ['/v1/products/a%3Fb=1', 'path:sku'],
    ['/v1/products/a%23b', 'path:sku'],
    ['/v1/products/.hidden', 'path:sku'],
    [`/v1/products/${'x'.repeat(129)}`, 'path:sku'],
  ])('a parameter that is no plain word goes nowhere: %s', async (path, pointer) => {
    const answer = await ask(path.endsWith('cancel') ? 'POST' : 'GET', path);
    expect([answer.status, answer.body.code]).toEqual([422, 'validation_failed']);
    expect(answer.body.errors[0].pointer).toBe(pointer);
    expect(asked).toEqual([]);
  });

  test.each([
    ['GET', '/v1/orders/../../metrics', 401, 'app_token_required'],
    ['GET', '/v1/nothing', 404, 'route_not_found'],
    ['POST', '/v1/quotes', 404, 'route_not_found'],
    ['DELETE', '/v1/orders', 405, 'method_not_allowed'],
    ['GET', '/metrics', 401, 'app_token_required'],
  ])('%s %s is none of its routes', async (method, path, status, code) => {
    const answer = await ask(method, path, method === 'POST' ? {} : undefined);
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(asked).toEqual([]);
  });

  test('a huge body or one that is no JSON is refused here', async () => {
    const huge = await ask('POST', '/v1/orders', `"${'x'.repeat(300_000)}"`);
    expect([huge.status, huge.body.code]).toEqual([413, 'payload_too_large']);
    const form = await ask('POST', '/v1/orders', 'a=b', { 'content-type': 'text/plain' });
    expect([form.status, form.body.code]).toEqual([415, 'unsupported_media_type']);
    expect(asked).toEqual([]);
  });

  test.each([
    ['unavailable', 503, 'upstream_unavailable', '1'],
    ['timeout', 503, 'upstream_timeout', '1'],
    ['denied', 502, 'upstream_refused', null],
  ] as const)('when the way is %s the client learns no more than that', async (kind, status, code, retry) => {
    answers.orders = () => {
      throw new DaprError(kind, 'dial tcp 10.0.0.7:50002: secret');
    };
    const answer = await ask('GET', '/v1/orders');
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(answer.headers.get('retry-after')).toBe(retry);
    expect(JSON.stringify(answer.body)).not.toContain('secret');
  });
});

describe('an order with names', () => {
  const read = () => ask('GET', `/v1/orders/${id}`);

  test('has the name of each product that products knows', async () => {
    answers = { orders: () => ({ body: order }), products: () => ({ body: quotes }) };
    const { status, body } = await read();
    expect(status).toBe(200);
    expect(body.lines.map((line: { name?: string }) => line.name)).toEqual(['White heart', undefined]);
    expect(body.missing).toBeUndefined();
    expect(asked[1]?.request).toMatchObject({ path: '/v1/quotes', body: { skus: ['HEART', 'LANTERN'] } });
  });

  test('is told without them when products is down, and says so', async () => {
    answers = { orders: () => ({ body: order }), products: () => ({ status: 503 }) };
    expect(await read()).toMatchObject({ status: 200, body: { ...order, missing: ['product_names'] } });
  });

  test('asks a products that failed only once a second', async () => {
    const products = vi.fn((): Behind => {
      throw new DaprError('timeout', 'late');
    });
    answers = { orders: () => ({ body: order }), products };
    for (let i = 0; i < 5; i++) expect((await read()).body.missing).toEqual(['product_names']);
    expect(products).toHaveBeenCalledTimes(1);
    products.mockReturnValue({ body: quotes });
    now = 1000;
    expect((await read()).body.missing).toBeUndefined();
  });

  test.each([[{ ...order, total: 'a lot' }], [undefined]])(
    'that orders answers in a way nobody can read is not the fault of the client',
    async (body) => {
      answers.orders = () => ({ body });
      const answer = await read();
      expect([answer.status, answer.body.code]).toEqual([502, 'upstream_invalid']);
      expect(answer.body.errors).toBeUndefined();
    },
  );

  test('that is not there is not there', async () => {
    answers.orders = () => ({ status: 404, body: { code: 'not_found' } });
    expect(await read()).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(asked).toHaveLength(1);
  });
});

describe('the pages', () => {
  test('the root says where things are', async () => {
    const { body } = await ask('GET', '/');
    for (const link of ['/docs', '/openapi.json']) {
      expect(Object.values(body.links)).toContain(link);
      expect((await ask('GET', link)).status).toBe(200);
    }
  });

  test('the OpenAPI document has every public operation', async () => {
    const { body } = await ask('GET', '/openapi.json');
    for (const { method, path } of PUBLIC_ROUTES)
      expect(body.paths[path][method.toLowerCase()]).toBeDefined();
  });

  test('the page to try it brings its own scripts', async () => {
    const page = await ask('GET', '/docs');
    expect(page.headers.get('content-type')).toContain('text/html');
    const assets = [...String(page.body).matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(
      ([, path]) => path as string,
    );
    expect(assets).toHaveLength(3);
    for (const path of assets) expect((await ask('GET', path)).status).toBe(200);
    expect((await ask('GET', '/docs/package.json')).status).toBe(404);
  });

  test('a problem type can be read', async () => {
    for (const code of ['validation_failed', 'price_changed', 'upstream_refused'])
      expect((await ask('GET', `/problems/${code}`)).body).toMatchObject({
        type: `/problems/${code}`,
        code,
        status: expect.any(Number),
        title: expect.any(String),
        cure: expect.any(String),
      });
    expect((await ask('GET', '/problems/toString')).status).toBe(404);
  });
});
