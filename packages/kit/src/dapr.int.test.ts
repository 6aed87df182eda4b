import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { readActor } from './actor.ts';
import { newTraceparent, runInContext, traceIdOf } from './context.ts';
import { createDapr, type Dapr } from './dapr.ts';

// A stand-in for the sidecar that answers what daprd 1.18.2 was seen to answer; the real one is in the end-to-end tests.

interface Seen {
  method: string;
  url: string;
  headers: http.IncomingHttpHeaders;
  body: string;
}
type Answer = { status: number; body?: string; type?: string } | 'silence' | 'half' | 'reset';

async function sidecar(
  answer: Answer | ((seen: Seen) => Answer),
): Promise<{ dapr: Dapr; seen: Seen[]; port: number }> {
  const seen: Seen[] = [];
  const server = http.createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    const one = { method: req.method ?? '', url: req.url ?? '', headers: req.headers, body };
    seen.push(one);
    const now = typeof answer === 'function' ? answer(one) : answer;
    if (now === 'silence') return;
    if (now === 'reset') return req.socket.destroy();
    if (now === 'half') return void res.writeHead(200, { 'content-length': '10' }).write('{"a"');
    res.writeHead(now.status, { 'content-type': now.type ?? 'application/json' }).end(now.body ?? '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { dapr: createDapr({ httpPort: port, apiToken: 'api-token' }), seen, port };
}

const event = { id: '1', specversion: '1.0', type: 'T', source: '/s', data: { a: 1 } };
const publishFault = (text: string) =>
  JSON.stringify({
    errorCode: 'ERR_PUBSUB_PUBLISH_MESSAGE',
    message: `error when publishing to topic orders in pubsub pubsub-orders: ${text}`,
  });
const invokeFault = (text: string) => JSON.stringify({ errorCode: 'ERR_DIRECT_INVOKE', message: text });
const get = { method: 'GET', path: '/v1/x', timeoutMs: 300 };

test('publish sends the event as it is, with token and trace', async () => {
  const { dapr, seen } = await sidecar({ status: 204 });
  const traceparent = newTraceparent();
  await dapr.publish('pubsub-orders', 'commands.inventory', { ...event, traceparent });
  expect(seen).toHaveLength(1); // nothing asked beforehand, as the SDK does by itself
  expect(seen[0]).toMatchObject({ method: 'POST', headers: { 'dapr-api-token': 'api-token', traceparent } });
  expect(seen[0]?.url.split('?')[0]).toBe('/v1.0/publish/pubsub-orders/commands.inventory');
  expect(seen[0]?.headers['content-type']).toBe('application/cloudevents+json');
  expect(JSON.parse(seen[0]?.body ?? '')).toEqual({ ...event, traceparent });
});

test.each<[string, Answer, string]>([
  ['no stream', { status: 500, body: publishFault('nats: no response from stream') }, 'no-stream'],
  [
    'a key of Redis that is no stream',
    {
      status: 500,
      body: publishFault(
        'redis streams: error from publish: WRONGTYPE Operation against a key holding the wrong kind of value',
      ),
    },
    'no-stream',
  ],
  [
    'a Redis that is away',
    {
      status: 500,
      body: publishFault('redis streams: error from publish: dial tcp: connect: connection refused'),
    },
    'unavailable',
  ],
  [
    'a Redis that refuses the login',
    {
      status: 500,
      body: publishFault('redis streams: error from publish: WRONGPASS invalid username-password pair'),
    },
    'unavailable',
  ],
  [
    'a Redis that is full',
    {
      status: 500,
      body: publishFault(
        "redis streams: error from publish: OOM command not allowed when used memory > 'maxmemory'.",
      ),
    },
    'unavailable',
  ],
  [
    'a broker gone for good',
    { status: 500, body: publishFault('nats: connection closed') },
    'connection-closed',
  ],
  ['a broker that is away', { status: 500, body: publishFault('nats: timeout') }, 'unavailable'],
  [
    'a topic out of scope',
    { status: 403, body: '{"errorCode":"ERR_PUBSUB_FORBIDDEN","message":"x"}' },
    'denied',
  ],
  [
    'an unknown component',
    { status: 404, body: '{"errorCode":"ERR_PUBSUB_NOT_FOUND","message":"x"}' },
    'no-component',
  ],
  ['a wrong token', { status: 401, body: 'invalid api token', type: 'text/plain' }, 'denied'],
  ['a body too large', { status: 413, body: 'x', type: 'text/plain' }, 'refused'],
  [
    'an answer 200 with a failure in it',
    { status: 200, body: '{"failedEntries":[{"entryId":"1"}]}' },
    'unavailable',
  ],
  ['something else that answers 200', { status: 200, body: '<html>', type: 'text/html' }, 'unavailable'],
  ['a sidecar that hangs up', 'reset', 'unavailable'],
  ['a sidecar that is frozen', 'silence', 'timeout'],
  ['an answer that stops', 'half', 'timeout'],
])('publish to %s rejects', async (_name, answer, kind) => {
  const { dapr } = await sidecar(answer);
  const log = [vi.spyOn(console, 'log'), vi.spyOn(console, 'error'), vi.spyOn(console, 'info')];
  await expect(dapr.publish('pubsub-orders', 'orders', event, { timeoutMs: 300 })).rejects.toMatchObject({
    name: 'DaprError',
    kind,
  });
  for (const spy of log) expect(spy).not.toHaveBeenCalled();
});

test('no sidecar at all', async () => {
  const dapr = createDapr({ httpPort: 1, apiToken: 'x' });
  const startedAt = performance.now();
  await expect(dapr.publish('p', 't', event)).rejects.toMatchObject({ kind: 'unavailable' });
  await expect(dapr.invoke('products', get)).rejects.toMatchObject({ kind: 'unavailable' });
  await expect(dapr.getSecret('kubernetes', 'x')).rejects.toMatchObject({ kind: 'unavailable' });
  await expect(dapr.shutdownSidecar()).rejects.toMatchObject({ kind: 'unavailable' });
  expect(performance.now() - startedAt).toBeLessThan(2000);
});

test('two sidecars in one process keep apart', async () => {
  const a = await sidecar({ status: 204 });
  const b = await sidecar({ status: 500, body: publishFault('nats: connection closed') });
  const results = await Promise.allSettled([a, b, a, b].map(({ dapr }) => dapr.publish('p', 't', event)));
  expect(results.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
});

test('invoke passes on the answer of the callee, whatever its status', async () => {
  const problem = '{"type":"/problems/conflict","status":409,"code":"conflict"}';
  const { dapr } = await sidecar({ status: 409, body: problem, type: 'application/problem+json' });
  const answer = await dapr.invoke('products', get);
  expect(answer.status).toBe(409);
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  expect(answer.json()).toMatchObject({ code: 'conflict' });
});

test('a problem of the callee is never taken for one of the sidecar, though it quotes it', async () => {
  const body = JSON.stringify({ code: 'upstream_unavailable', detail: '"ERR_DIRECT_INVOKE"' });
  for (const status of [403, 500]) {
    const { dapr } = await sidecar({ status, body, type: 'application/problem+json' });
    expect((await dapr.invoke('products', get)).status).toBe(status);
  }
});

test('invoke carries the context, a length, and names of its own that the caller cannot overwrite', async () => {
  const { dapr, seen } = await sidecar({ status: 200, body: '{}' });
  const traceparent = newTraceparent();
  await runInContext({ traceparent, requestId: 'r1', actor: 'user:7', customerId: 'c7' }, () =>
    dapr.invoke('products', {
      method: 'POST',
      path: '/v1/quotes?x=1',
      body: { skus: ['ä'] },
      headers: { 'Dapr-App-Id': 'evil', 'X-Sidecart-Actor': 'evil', 'Idempotency-Key': 'k' },
      timeoutMs: 300,
    }),
  );
  const [one] = seen;
  expect(one).toMatchObject({ method: 'POST', url: '/v1/quotes?x=1', body: '{"skus":["ä"]}' });
  expect(one?.headers).toMatchObject({
    'dapr-app-id': 'products',
    'dapr-api-token': 'api-token',
    'content-type': 'application/json',
    'content-length': '15',
    'x-request-id': 'r1',
    'x-sidecart-actor': 'user:7',
    'x-sidecart-customer-id': 'c7',
    'idempotency-key': 'k',
  });
  expect(traceIdOf(String(one?.headers.traceparent))).toBe(traceIdOf(traceparent));
  expect(one?.headers.traceparent).not.toBe(traceparent);
});

test('invoke carries an actor of any letters, as a message may name one', async () => {
  const { dapr, seen } = await sidecar({ status: 200, body: '{}' });
  await runInContext({ traceparent: newTraceparent(), requestId: 'r1', actor: 'Łukasz Wójcik' }, () =>
    dapr.invoke('products', get),
  );
  expect(readActor(String(seen[0]?.headers['x-sidecart-actor']))).toBe('Łukasz Wójcik');
});

test('a text body is sent as it is, no body without length or type', async () => {
  const { dapr, seen } = await sidecar({ status: 200, body: '{}' });
  await dapr.invoke('a', { ...get, method: 'POST', body: '{"a":', headers: { 'content-type': 'text/x' } });
  await dapr.invoke('a', get);
  expect(seen[0]).toMatchObject({ body: '{"a":', headers: { 'content-type': 'text/x' } });
  expect(seen[1]?.headers).not.toHaveProperty('content-type');
});

test.each<[string, Answer, string]>([
  [
    'access control',
    { status: 403, body: invokeFault('rpc error: access control policy has denied access') },
    'denied',
  ],
  [
    'a wrong API token',
    { status: 401, body: 'invalid api token\n', type: 'text/plain; charset=utf-8' },
    'denied',
  ],
  ['an unknown app', { status: 500, body: invokeFault('no host found with the given ID') }, 'unavailable'],
  [
    'a callee that is down',
    { status: 500, body: invokeFault('error invoking app channel: refused') },
    'unavailable',
  ],
  ['an open circuit', { status: 500, body: invokeFault('circuit breaker is open') }, 'unavailable'],
  ['a policy timeout', { status: 500, body: invokeFault('err: context deadline exceeded') }, 'timeout'],
  ['a remote timeout', { status: 500, body: invokeFault('rpc error: code = DeadlineExceeded') }, 'timeout'],
  ['a frozen sidecar', 'silence', 'timeout'],
  ['an answer that stops', 'half', 'timeout'],
  ['a sidecar that dies', 'reset', 'unavailable'],
])('invoke through %s rejects', async (_name, answer, kind) => {
  const { dapr } = await sidecar(answer);
  await expect(dapr.invoke('products', get)).rejects.toMatchObject({ name: 'DaprError', kind });
});

test('invokeBinding asks for the operation, and gives what was answered', async () => {
  const { dapr, seen } = await sidecar({ status: 200, body: 'YWJj', type: 'application/json' });
  const request = { operation: 'create', data: 'YQ==', metadata: { fileName: 'a/b' } };
  expect(await dapr.invokeBinding('archive', { ...request, timeoutMs: 300 })).toBe('YWJj');
  expect(seen).toMatchObject([
    { method: 'POST', url: '/v1.0/bindings/archive', headers: { 'dapr-api-token': 'api-token' } },
  ]);
  expect(JSON.parse(seen[0]?.body ?? '')).toEqual(request);
});

const bindingFault = (text: string) =>
  JSON.stringify({ errorCode: 'ERR_INVOKE_OUTPUT_BINDING', message: `error invoking binding: ${text}` });

test.each<[string, Answer, string]>([
  ['a file that is not there', { status: 500, body: bindingFault('file not found: /x') }, 'unavailable'],
  ['no component', { status: 500, body: bindingFault("couldn't find output binding x") }, 'no-component'],
  ['a wrong token', { status: 401, body: 'invalid api token', type: 'text/plain' }, 'denied'],
  ['a body too large', { status: 413, body: 'x', type: 'text/plain' }, 'refused'],
  ['a frozen sidecar', 'silence', 'timeout'],
  ['an answer that stops', 'half', 'timeout'],
])('invokeBinding with %s rejects', async (_name, answer, kind) => {
  const { dapr } = await sidecar(answer);
  const asked = dapr.invokeBinding('archive', { operation: 'get', timeoutMs: 300 });
  await expect(asked).rejects.toMatchObject({ name: 'DaprError', kind });
});

test('getSecret gives the pairs, and its faults a kind', async () => {
  const good = await sidecar({ status: 200, body: '{"url":"postgres://x"}' });
  expect(await good.dapr.getSecret('kubernetes', 'orders-db')).toEqual({ url: 'postgres://x' });
  expect(good.seen[0]?.url).toBe('/v1.0/secrets/kubernetes/orders-db');
  const denied = await sidecar({ status: 403, body: '{"errorCode":"ERR_PERMISSION_DENIED","message":"x"}' });
  await expect(denied.dapr.getSecret('kubernetes', 'x')).rejects.toMatchObject({
    kind: 'denied',
    status: 403,
  });
  const broken = await sidecar({ status: 500, body: '{"errorCode":"ERR_SECRET_GET","message":"x"}' });
  await expect(broken.dapr.getSecret('kubernetes', 'x')).rejects.toMatchObject({ kind: 'unavailable' });
});

test('waitForOutbound asks until the components are up', async () => {
  let asked = 0;
  const { dapr, seen } = await sidecar(() => ({ status: ++asked < 4 ? 500 : 204 }));
  await dapr.waitForOutbound(3000);
  expect(seen.map((s) => s.url)).toEqual(Array(4).fill('/v1.0/healthz/outbound'));
  const never = await sidecar('silence');
  await expect(never.dapr.waitForOutbound(300)).rejects.toMatchObject({ kind: 'timeout' });
});

test('shutdownSidecar', async () => {
  const { dapr, seen } = await sidecar({ status: 204 });
  await dapr.shutdownSidecar();
  expect(seen[0]).toMatchObject({ method: 'POST', url: '/v1.0/shutdown' });
});
