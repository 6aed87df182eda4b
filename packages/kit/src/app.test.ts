import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import { describe, expect, test } from 'vitest';
import { createApp } from './app.ts';
import { currentContext, newTraceparent, traceIdOf } from './context.ts';
import { createLogger } from './log.ts';
import { callJson, TEST_TOKEN, testDeps } from './testing.ts';

const Order = z.strictObject({ customer: z.string().max(20).optional(), lines: z.array(z.string()).max(3) });

function testApp(options: { open?: (path: string) => boolean; maxBodyBytes?: number } = {}) {
  const logged: Record<string, unknown>[] = [];
  const deps = {
    ...testDeps(),
    log: createLogger({
      service: 'test',
      level: 'debug',
      destination: { write: (line) => void logged.push(JSON.parse(line)) },
    }),
  };
  const app = createApp({ ...deps, ...options });
  const place = createRoute({
    method: 'post',
    path: '/v1/orders',
    request: { body: { required: true, content: { 'application/json': { schema: Order } } } },
    responses: { 201: { description: 'placed' } },
  });
  app.openapi(place, (c) => c.json(c.req.valid('json'), 201));
  const cancel = createRoute({
    method: 'post',
    path: '/v1/orders/{id}/cancel',
    request: {
      params: z.object({ id: z.string().regex(/^ord_[0-9a-f-]{36}$/) }),
      body: {
        content: { 'application/json': { schema: z.strictObject({ reason: z.string().optional() }) } },
      },
    },
    responses: { 200: { description: 'cancelled' } },
  });
  app.openapi(cancel, (c) => c.json({ cancelled: true }, 200));
  const list = createRoute({
    method: 'get',
    path: '/v1/orders',
    request: { query: z.strictObject({ limit: z.coerce.number().int().max(200).default(50) }) },
    responses: { 200: { description: 'orders' } },
  });
  const orders = new OpenAPIHono(); // a part of the routes of its own, as a service may have it
  orders.openapi(list, (c) => c.json(c.req.valid('query'), 200));
  app.route('/', orders);
  app.get('/v1/orders/:id', (c) => c.json({ id: c.req.param('id'), context: currentContext() }));
  app.get('/kaboom', () => {
    throw new Error('the password is hunter2');
  });
  app.get('/unreadable', (c) => c.json(z.object({ hunter2: z.string() }).parse({}))); // an answer that is not what we thought
  app.get('/odd', () => {
    throw 'hunter2, as text'; // what a careless library may throw
  });
  return { app, deps, logged };
}

describe('the app token', () => {
  test.each([
    ['none', {}],
    ['another of the same length', { 'dapr-api-token': `${TEST_TOKEN.slice(0, -1)}X` }],
    ['a shorter one', { 'dapr-api-token': TEST_TOKEN.slice(0, -1) }],
    ['a longer one', { 'dapr-api-token': `${TEST_TOKEN}X` }],
    ['an empty one', { 'dapr-api-token': '' }],
  ])('%s is refused', async (_name, headers) => {
    const { app } = testApp();
    for (const path of ['/v1/orders', '/messages/orders', '/metrics', '/nowhere', '/v1/%zz']) {
      const answer = await app.request(path, { headers });
      expect(answer.status).toBe(401);
      expect(await answer.json()).toMatchObject({ code: 'app_token_required' });
    }
  });

  test('an app without a token lets nobody in', async () => {
    const app = createApp({ ...testDeps(), appToken: '' });
    expect((await app.request('/metrics', { headers: { 'dapr-api-token': '' } })).status).toBe(401);
  });

  test('health paths and open paths need none', async () => {
    const { app } = testApp({ open: (path) => path.startsWith('/v1/') });
    for (const path of ['/livez', '/readyz', '/healthz', '/v1/orders']) {
      expect((await app.request(path)).status).toBe(200);
    }
    expect((await app.request('/metrics')).status).toBe(401);
  });

  test('only who has it may say on whose behalf it asks', async () => {
    const { app } = testApp({ open: () => true });
    const headers = { 'x-sidecart-actor': 'user:7', 'x-sidecart-customer-id': 'c7' };
    const stranger = await callJson(app, 'GET', '/v1/orders/1', undefined, {
      ...headers,
      'dapr-api-token': 'x',
    });
    expect(stranger.body.context).toMatchObject({ actor: 'anonymous' });
    expect(stranger.body.context).not.toHaveProperty('customerId');
    const { body } = await callJson(app, 'GET', '/v1/orders/1', undefined, headers);
    expect(body.context).toMatchObject({ actor: 'user:7', customerId: 'c7' });
  });

  test.each([
    ["UTF-8''Jos%C3%A9%20Ruiz", 'José Ruiz'],
    ['100%', '100%'],
    ['Ann Smith', 'anonymous'],
    ["UTF-8''a%0Ab", 'anonymous'],
  ])('who has it and names %s asks for %s', async (header, actor) => {
    const { app } = testApp();
    const { body } = await callJson(app, 'GET', '/v1/orders/1', undefined, { 'x-sidecart-actor': header });
    expect(body.context).toMatchObject({ actor });
  });

  test('it is not logged', async () => {
    const { app, logged } = testApp();
    await callJson(app, 'GET', '/kaboom');
    expect(JSON.stringify(logged)).not.toContain(TEST_TOKEN);
  });
});

describe('bad input', () => {
  const post = (app: OpenAPIHono, body: string, headers: Record<string, string> = {}) =>
    callJson(app, 'POST', '/v1/orders', body, headers);

  test.each<[string, string, string, number, string]>([
    ['broken JSON', '{"lines":[}', '', 400, 'malformed_json'],
    ['JSON cut off', '{"lines":', '', 400, 'malformed_json'],
    ['no JSON at all', 'hello', '', 400, 'malformed_json'],
    ['NaN', '{"lines":NaN}', '', 400, 'malformed_json'],
    ['a raw NUL', '{"lines":["\0"]}', '', 400, 'malformed_json'],
    ['deep nesting', '['.repeat(100_000), '', 400, 'malformed_json'],
    ['deep but closed', `{"lines":${'['.repeat(40)}${']'.repeat(40)}}`, '', 400, 'malformed_json'],
    ['null', 'null', '', 422, 'validation_failed'],
    ['a list', '[]', '', 422, 'validation_failed'],
    ['an unknown field', '{"lines":[],"colour":1}', '/colour', 422, 'validation_failed'],
    ['a wrong type', '{"lines":[1]}', '/lines/0', 422, 'validation_failed'],
    ['too many', '{"lines":["a","b","c","d"]}', '/lines', 422, 'validation_failed'],
    ['an escaped NUL', '{"lines":["a\\u0000"]}', '/lines/0', 422, 'validation_failed'],
    ['an escaped NUL in a key', '{"lines":[],"a\\u0000":1}', '/a\ufffd', 422, 'validation_failed'],
    ['half a surrogate pair', '{"lines":["\\ud83d"]}', '/lines/0', 422, 'validation_failed'],
    ['__proto__', '{"lines":[],"__proto__":{"a":1}}', '/__proto__', 422, 'validation_failed'],
    ['__proto__, escaped', '{"lines":[],"\\u005f_proto__":{"a":1}}', '/__proto__', 422, 'validation_failed'],
    [
      'constructor',
      '{"lines":[],"constructor":{"prototype":{"a":1}}}',
      '/constructor',
      422,
      'validation_failed',
    ],
    ['an empty body', '', '/lines', 422, 'validation_failed'],
  ])('%s', async (_name, body, pointer, status, code) => {
    const { app } = testApp();
    const answer = await post(app, body);
    expect(answer).toMatchObject({ status, body: { code, status, type: `/problems/${code}` } });
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    if (pointer !== '')
      expect(answer.body.errors.map((e: { pointer: string }) => e.pointer)).toContain(pointer);
    expect(({} as Record<string, unknown>).a).toBeUndefined();
  });

  test('whole surrogate pairs and escapes are fine', async () => {
    const { app } = testApp();
    expect((await post(app, '{"lines":["\\ud83d\\ude00 \\u00e9"]}')).body).toEqual({ lines: ['😀 é'] });
  });

  test('bytes that are no UTF-8', async () => {
    const { app } = testApp();
    const answer = await app.request('/v1/orders', {
      method: 'POST',
      headers: { 'dapr-api-token': TEST_TOKEN, 'content-type': 'application/json' },
      body: Buffer.from('{"lines":["\xe9"]}', 'latin1'),
    });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ code: 'malformed_json' });
  });

  test.each([
    ['text/plain'],
    ['application/x-www-form-urlencoded'],
    ['multipart/form-data; boundary=x'],
    ['application/json; charset=latin1'],
    ['application/jsonx'],
    [''],
  ])('content type %s', async (type) => {
    const { app } = testApp();
    const answer = await post(app, '{"lines":[]}', { 'content-type': type });
    expect(answer).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } });
  });

  test.each([['application/json; charset=utf-8'], ['APPLICATION/JSON'], ['application/vnd.shop.order+json']])(
    'content type %s is JSON',
    async (type) => {
      const { app } = testApp();
      expect((await post(app, '{"lines":[]}', { 'content-type': type })).status).toBe(201);
    },
  );

  test('a compressed body', async () => {
    const { app } = testApp();
    const answer = await post(app, '{"lines":[]}', { 'content-encoding': 'gzip' });
    expect(answer).toMatchObject({ status: 415, body: { errors: [{ pointer: 'header:Content-Encoding' }] } });
  });

  test('a body that is not demanded may be left out', async () => {
    const { app } = testApp();
    const path = '/v1/orders/ord_0199b6d4-0000-7000-8000-000000000000/cancel';
    expect((await callJson(app, 'POST', path)).status).toBe(200);
    expect((await callJson(app, 'POST', path, '')).status).toBe(200);
    expect((await callJson(app, 'POST', path, { reason: 'late' })).status).toBe(200);
    expect((await callJson(app, 'POST', path, { because: 'late' })).status).toBe(422);
  });

  test('an empty body is none, however it is labelled: a sidecar labels it too', async () => {
    const { app } = testApp();
    const path = '/v1/orders/ord_0199b6d4-0000-7000-8000-000000000000/cancel';
    for (const headers of [
      { 'content-type': 'application/octet-stream' },
      { 'content-type': '', 'transfer-encoding': 'chunked' },
      { 'content-type': '', 'content-length': '0' },
    ]) {
      expect((await callJson(app, 'POST', path, '', headers)).status).toBe(200);
      const missing = await post(app, '', headers);
      expect(missing).toMatchObject({ status: 422, body: { errors: [{ pointer: '/lines' }] } });
    }
  });

  test('a huge body, announced or not', async () => {
    const { app } = testApp({ maxBodyBytes: 1000 });
    const body = JSON.stringify({ lines: ['x'.repeat(2000)] });
    const announced = await post(app, body, { 'content-length': '2013' });
    expect(announced).toMatchObject({ status: 413, body: { code: 'payload_too_large' } });
    const chunks = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(600));
      },
    });
    const init = {
      method: 'POST',
      headers: { 'dapr-api-token': TEST_TOKEN, 'content-type': 'application/json' },
      body: chunks,
      duplex: 'half',
    };
    const streamed = await app.request('/v1/orders', init as RequestInit);
    expect(streamed.status).toBe(413);
  });

  test.each([
    ['/v1/orders/%zz', 'path:'],
    ['/v1/orders/%ff', 'path:'],
    ['/v1/orders/a%00b', 'path:'],
    ['/v1/orders?limit=%zz', 'query:limit'],
    ['/v1/orders?a=1&name=%00', 'query:name'],
    ['/v1/orders?limit=900', 'query:limit'],
    ['/v1/orders?limit=1&page=2', 'query:page'],
    ['/v1/orders?limit=1&limit=2', 'query:limit'],
  ])('%s', async (path, pointer) => {
    const { app } = testApp();
    const { status, body } = await callJson(app, 'GET', path);
    expect(status).toBe(422);
    expect(body.code).toBe('validation_failed');
    expect(body.errors.map((e: { pointer: string }) => e.pointer)).toContain(pointer);
  });

  test('an id of the wrong shape', async () => {
    const { app } = testApp();
    const { status, body } = await callJson(app, 'POST', '/v1/orders/42/cancel');
    expect(status).toBe(422);
    expect(body.errors).toMatchObject([{ pointer: 'path:id', code: 'invalid_format' }]);
  });
});

describe('routes', () => {
  test('an unknown path', async () => {
    const { app } = testApp();
    expect(await callJson(app, 'GET', '/nowhere')).toMatchObject({
      status: 404,
      body: { code: 'route_not_found' },
    });
  });

  test('a known path with another method', async () => {
    const { app } = testApp();
    const answer = await callJson(app, 'DELETE', '/v1/orders');
    expect(answer).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } });
    expect(answer.headers.get('allow')).toBe('GET, POST, HEAD');
  });

  test('a delivery without a handler is never 404, on which Dapr would drop it', async () => {
    const { app } = testApp();
    const cloudEvents = { 'content-type': 'application/cloudevents+json' };
    for (const [path, headers] of [
      ['/messages/orders', {}],
      ['/messages', {}],
      ['/somewhere', cloudEvents],
      ['/v1/orders/1', cloudEvents],
    ] as const) {
      const answer = await callJson(app, 'POST', path, { id: '1' }, headers);
      expect(answer).toMatchObject({ status: 503, body: { code: 'message_not_routed' } });
    }
  });

  test('without the token nothing is a delivery, not even where everybody may ask', async () => {
    const { app } = testApp({ open: () => true, maxBodyBytes: 100 });
    const stranger = { 'dapr-api-token': 'x', 'content-type': 'application/cloudevents+json' };
    for (const path of ['/messages/orders', '/messages', '/somewhere'])
      expect(await callJson(app, 'POST', path, {}, stranger)).toMatchObject({
        status: 404,
        body: { code: 'route_not_found' },
      });
    for (const path of ['/messages/orders', '/v1/orders', '/admin/dead-letters/1/message']) {
      expect((await callJson(app, 'POST', path, `"${'x'.repeat(101)}"`, stranger)).status).toBe(413);
      expect((await callJson(app, 'POST', path, '{', stranger)).status).toBe(400);
    }
  });

  test('a content type alone does not make a request a delivery, whoever sends it', async () => {
    const { app } = testApp({ maxBodyBytes: 100 });
    const headers = { 'content-type': 'application/cloudevents+json' };
    expect((await callJson(app, 'POST', '/v1/orders', `"${'x'.repeat(101)}"`, headers)).status).toBe(413);
  });

  test('what is put in place of a message may be as long as one, for who holds the token; nothing beside it may', async () => {
    const { app } = testApp({ maxBodyBytes: 100 });
    app.all('/admin/*', (c) => c.text('taken'));
    const put = async (path: string, bytes: number) =>
      (await callJson(app, 'PUT', path, `"${'x'.repeat(bytes)}"`)).status;
    expect(await put('/admin/dead-letters/1/message', 4 * 1024 * 1024)).toBe(200);
    expect(await put('/admin/dead-letters/1/message', 5 * 1024 * 1024)).toBe(413);
    for (const path of [
      '/admin/dead-letters/1/discard',
      '/admin/dead-letters/1/message/x',
      '/admin/x/1/message',
    ])
      expect(await put(path, 101)).toBe(413);
  });

  test('the body of a delivery reaches its handler untouched, however odd', async () => {
    const { app } = testApp({ maxBodyBytes: 100 });
    app.post('/messages/orders', async (c) => c.json({ got: await c.req.text() }));
    const odd = `{"data":"\\u0000${'x'.repeat(500)}", broken`;
    const headers = { 'content-type': 'application/cloudevents+json' };
    expect((await callJson(app, 'POST', '/messages/orders', odd, headers)).body.got).toBe(odd);
  });
});

describe('health', () => {
  test('readiness is about the process, and ends with draining', async () => {
    const { app, deps } = testApp();
    deps.health.setReady(false);
    expect(await callJson(app, 'GET', '/readyz')).toMatchObject({
      status: 503,
      body: { status: 'starting' },
    });
    deps.health.setReady(true);
    deps.health.report('broker', { status: 'degraded', reason: 'away' });
    expect((await callJson(app, 'GET', '/readyz')).status).toBe(200);
    expect(await callJson(app, 'GET', '/healthz')).toMatchObject({
      status: 200,
      body: { status: 'degraded' },
    });
    deps.health.setDraining();
    expect(await callJson(app, 'GET', '/readyz')).toMatchObject({
      status: 503,
      body: { status: 'draining' },
    });
    expect((await callJson(app, 'GET', '/livez')).status).toBe(200);
  });
});

describe('what goes wrong inside', () => {
  test.each([['/kaboom'], ['/unreadable'], ['/odd']])('%s shows nothing and is logged once', async (path) => {
    const { app, logged } = testApp();
    const { status, body } = await callJson(app, 'GET', path);
    expect(status).toBe(500);
    expect(body).toEqual({
      type: '/problems/internal',
      title: 'Something went wrong inside',
      status: 500,
      code: 'internal',
      instance: path,
      trace_id: expect.stringMatching(/^[0-9a-f]{32}$/),
      request_id: expect.any(String),
    });
    const errors = logged.filter((line) => line.level === 'error');
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({ trace_id: body.trace_id });
    expect(JSON.stringify(errors[0]?.err)).toContain('hunter2');
  });
});

describe('request id and trace', () => {
  test('those of the caller go on', async () => {
    const { app } = testApp();
    const traceparent = newTraceparent();
    const headers = { 'x-request-id': 'req-1', traceparent };
    const answer = await callJson(app, 'GET', '/v1/orders/1', undefined, headers);
    expect(answer.headers.get('x-request-id')).toBe('req-1');
    expect(traceIdOf(answer.body.context.traceparent)).toBe(traceIdOf(traceparent));
    expect(answer.body.context.traceparent).not.toBe(traceparent);
  });

  test.each([['a b'], ['x'.repeat(129)], ['é']])('an unusable request id is replaced: %s', async (id) => {
    const { app } = testApp();
    const answer = await callJson(app, 'GET', '/nowhere', undefined, { 'x-request-id': id });
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.body.request_id).toBe(answer.headers.get('x-request-id'));
  });
});

test('metrics are by route template; unknown paths and methods make no series of their own', async () => {
  const { app, deps } = testApp();
  for (let i = 0; i < 20; i++) {
    await callJson(app, 'GET', `/v1/orders/${i}`);
    await callJson(app, 'GET', `/nowhere/${i}`);
    await callJson(app, `ODD${i}`, '/nowhere');
  }
  const text = await deps.metrics.registry.metrics();
  const counts = text
    .split('\n')
    .filter((line) => line.startsWith('http_server_request_duration_seconds_count'));
  expect(counts).toHaveLength(3);
  expect(text).toMatch(/_count\{[^}]*http_route="\/v1\/orders\/:id"[^}]*\} 20/);
  expect(text).toMatch(/_count\{[^}]*http_request_method="_OTHER",http_route="unmatched"[^}]*\} 20/);
});
