import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../../local/ports.ts';
import { type TestDatabase, testDatabase } from '../../../tests/postgres.ts';

const FIXTURE = fileURLToPath(new URL('../test/service-fixture.ts', import.meta.url));
const TOKEN = 'app-token-0123456789';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase('kit_service');
});
afterAll(() => database.drop());

/** A sidecar that is up and knows one secret. */
async function sidecar(o: { up?: boolean; secret?: object; onAsked?: () => void } = {}): Promise<number> {
  const server = http.createServer((req, res) => {
    o.onAsked?.();
    if (req.url === '/v1.0/healthz/outbound') return res.writeHead(o.up === false ? 500 : 204).end();
    if (req.url?.startsWith('/v1.0/secrets/kubernetes/fixture-db') && o.secret)
      return res.end(JSON.stringify(o.secret));
    return res.writeHead(403).end('{"errorCode":"ERR_PERMISSION_DENIED","message":"x"}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function start(o: { daprPort?: number; env?: Record<string, string> } = {}) {
  const port = await freePort();
  const env = {
    PORT: String(port),
    APP_ID: 'fixture',
    DAPR_HTTP_PORT: String(o.daprPort ?? (await sidecar())),
    DAPR_API_TOKEN: 'dapr-token-0123456789',
    APP_API_TOKEN: TOKEN,
    ...o.env,
  };
  const child = execa(process.execPath, ['--import', 'tsx', FIXTURE], {
    env,
    reject: false,
    forceKillAfterDelay: false,
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let out = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  const lines = (): Record<string, unknown>[] =>
    out
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  const said = async (message: string) => {
    for (let i = 0; i < 400; i++) {
      if (lines().some((line) => line.message === message)) return;
      await sleep(50);
    }
    throw new Error(`It never said "${message}": ${out}`);
  };
  const call = (path: string) =>
    fetch(`http://127.0.0.1:${port}${path}`, { headers: { 'dapr-api-token': TOKEN } });
  const messages = () => lines().map((line) => (line.name ? `${line.message} ${line.name}` : line.message));
  return { child, lines, messages, said, call, port };
}

test('up in order; at SIGTERM the request under way finishes before its tools go away, and all in order', async () => {
  const daprPort = await sidecar({ secret: { url: database.url } });
  const service = await start({ daprPort, env: { FIXTURE_DATABASE: 'yes' } });
  await service.said('ready');
  expect((await service.call('/readyz')).status).toBe(200);
  const slow = service.call('/slow');
  await sleep(100);
  service.child.kill('SIGTERM');
  await sleep(50);
  service.child.kill('SIGTERM');
  service.child.kill('SIGINT');
  const late = await service.call('/readyz');
  expect(late.status).toBe(503);
  expect(late.headers.get('connection')).toBe('close');
  expect((await slow).status).toBe(200);
  const { exitCode, stderr } = await service.child;
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  const messages = service.messages().filter((m) => m !== 'request');
  expect(messages).toEqual([
    'worker started first',
    'worker started second',
    'ready',
    'stopping',
    'slow is done',
    'worker stopped second',
    'worker stopped first',
    'stopped',
  ]);
  expect(JSON.stringify(service.lines())).not.toContain(TOKEN);
});

test('a worker that does not stop does not keep the rest from stopping', async () => {
  const service = await start({ env: { FIXTURE: 'worker-hangs' } });
  await service.said('ready');
  service.child.kill('SIGTERM');
  expect((await service.child).exitCode).toBe(0);
  expect(service.messages().slice(-3)).toEqual([
    'did not stop in time second',
    'worker stopped first',
    'stopped',
  ]);
});

test('the port opens only when the service is ready: its sidecar refuses calls for a while to one that is not', async () => {
  const service = await start({ env: { FIXTURE: 'worker-slow' } });
  for (;;) {
    const first = await service.call('/readyz').catch(() => undefined);
    if (!first) continue;
    expect(first.status).toBe(200);
    return;
  }
});

test('SIGTERM while a worker starts', async () => {
  const service = await start({ env: { FIXTURE: 'worker-slow' } });
  await service.said('worker started');
  service.child.kill('SIGTERM');
  expect((await service.child).exitCode).toBe(0);
  expect(service.messages()).toEqual(['worker started first', 'stopping', 'worker stopped first', 'stopped']);
});

test('SIGTERM while the sidecar is still awaited', async () => {
  const asked = Promise.withResolvers<void>();
  const service = await start({ daprPort: await sidecar({ up: false, onAsked: asked.resolve }) });
  await asked.promise;
  service.child.kill('SIGTERM');
  expect((await service.child).exitCode).toBe(0);
  expect(service.messages()).toEqual(['stopping', 'stopped']);
});

test.each<[string, Record<string, string>, RegExp]>([
  ['a configuration at fault', { PORT: 'x', APP_API_TOKEN: '' }, /PORT.*APP_API_TOKEN is missing/],
  ['a build at fault', { FIXTURE: 'build-fails' }, /no such thing/],
  ['a worker at fault', { FIXTURE: 'worker-fails' }, /no slots/],
  ['a secret that it may not read', { FIXTURE_DATABASE: 'yes' }, /fixture-db/],
])('%s: one line with the cure, exit code 1', async (_name, env, what) => {
  const service = await start({ env });
  expect((await service.child).exitCode).toBe(1);
  const fatal = service.lines().filter((line) => line.level === 'fatal');
  expect(fatal).toHaveLength(1);
  expect(fatal[0]).toMatchObject({ message: 'start-up failed', cure: expect.stringMatching(/.{10}/) });
  expect(JSON.stringify(fatal[0]?.err)).toMatch(what);
  // An error that knows its cure is believed.
  if (env.FIXTURE === 'worker-fails') expect(fatal[0]?.cure).toBe('make sixteen of them');
});

test('a port that is taken', async () => {
  const taken = http.createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void taken.close());
  const PORT = String((taken.address() as AddressInfo).port);
  const service = await start({ env: { PORT } });
  expect((await service.child).exitCode).toBe(1);
  expect(service.lines().at(-1)).toMatchObject({
    cure: expect.stringContaining(PORT),
    err: { code: 'EADDRINUSE' },
  });
});

test.each([
  ['/reject', 'unhandled rejection', 'nobody awaits me'],
  ['/throw', 'uncaught exception', 'nobody catches me'],
])('%s ends the process, with its reason in the log', async (path, message, reason) => {
  const service = await start();
  await service.said('ready');
  await service.call(path).catch(() => {});
  expect((await service.child).exitCode).toBe(1);
  expect(service.lines().at(-1)).toMatchObject({ level: 'fatal', message, err: { message: reason } });
});

test('the database being away at start does not keep the service from starting', async () => {
  const daprPort = await sidecar({ secret: { url: 'postgres://u:hunter2@127.0.0.1:1/d' } });
  const service = await start({ daprPort, env: { FIXTURE_DATABASE: 'yes' } });
  await service.said('ready');
  await service.said('the database is away');
  const health = await (await service.call('/healthz')).json();
  expect(health).toMatchObject({
    status: 'degraded',
    ready: true,
    components: { database: { reason: 'connect ECONNREFUSED 127.0.0.1:1' } },
  });
  const slow = await service.call('/slow');
  expect(slow.status).toBe(503);
  expect(await slow.json()).toMatchObject({ code: 'upstream_unavailable' });
  expect(JSON.stringify(service.lines())).not.toContain('hunter2');
});
