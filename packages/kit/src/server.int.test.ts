import http from 'node:http';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createApp } from './app.ts';
import { listen, type RunningServer } from './server.ts';
import { TEST_TOKEN, testDeps } from './testing.ts';

async function serve(
  o: { headersMs?: number; checkMs?: number; unusedMs?: number } = {},
): Promise<RunningServer> {
  const app = createApp({ ...testDeps(), open: () => true });
  app.get('/slow', async (c) => {
    await sleep(400);
    return c.json({ done: true });
  });
  app.get('/endless', () => new Promise<Response>(() => {}));
  app.post('/echo', async (c) => c.json(await c.req.json()));
  const server = await listen({ fetch: app.fetch, port: 0, host: '127.0.0.1', ...o });
  onTestFinished(() => void server.close(0));
  return server;
}

const GET = 'GET /livez HTTP/1.1\r\nHost: a\r\n\r\n';
const LAST_GET = 'GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

/** Sends bytes as they are; resolves with all that came back when the server closes the connection or `ms` are over. */
async function raw(port: number, bytes: string, ms = 3000): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk;
  });
  socket.on('error', () => {});
  socket.write(bytes);
  await Promise.race([new Promise((resolve) => socket.on('close', resolve)), sleep(ms)]);
  socket.destroy();
  return answer;
}

function problemOf(answer: string): { status: number; code: string; type: string } {
  expect(answer.toLowerCase()).toContain('content-type: application/problem+json');
  return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
}

test.each<[string, string, number, string]>([
  ['no HTTP', 'hello\r\n\r\n', 400, 'bad_request'],
  ['an unknown method', 'BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'bad_request'],
  ['a broken length', 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n', 400, 'bad_request'],
  [
    'two framings',
    'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
    'bad_request',
  ],
  ['a bad Host', 'GET /slow HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n', 400, 'bad_request'],
  ['no path', 'GET slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 400, 'bad_request'],
  [
    'a huge header',
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`,
    431,
    'headers_too_large',
  ],
  ['a huge path', `GET /${'x'.repeat(70_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 431, 'headers_too_large'],
])('%s is answered with a problem document', async (_name, bytes, status, code) => {
  const { port } = await serve();
  const answer = await raw(port, bytes);
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(problemOf(answer)).toMatchObject({ status, code, type: `/problems/${code}` });
  expect(answer).not.toMatch(/node_modules|\.ts:\d|\.js:\d/);
});

test('a body over the limit is refused while it is still on its way, with and without a length', async () => {
  const { port } = await serve();
  const head = 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n';
  const announced = await raw(port, `${head}Content-Length: 99999999\r\n\r\n{"a":"`, 500);
  expect(problemOf(announced)).toMatchObject({ status: 413, code: 'payload_too_large' });
  const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
  const chunked = await raw(port, `${head}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(5)}`, 500);
  expect(problemOf(chunked)).toMatchObject({ status: 413, code: 'payload_too_large' });
});

test('a connection that was opened ahead is served when it is used at last; the head of a request that takes too long is refused', async () => {
  const { port } = await serve({ headersMs: 200, checkMs: 100 });
  const ahead = net.connect(port, '127.0.0.1');
  let answer = '';
  ahead.on('data', (chunk) => {
    answer += chunk;
  });
  expect(problemOf(await raw(port, 'GET /livez HT'))).toMatchObject({ status: 408, code: 'request_timeout' });
  await sleep(500);
  expect(answer).toBe('');
  ahead.write(GET);
  await sleep(200);
  expect(answer).toMatch(/^HTTP\/1.1 200 /);
  ahead.destroy();
});

test('a connection is ended that brings no request for long, whatever else it brings', async () => {
  const { port } = await serve({ headersMs: 200, checkMs: 100, unusedMs: 1000 });
  const silent = net.connect(port, '127.0.0.1');
  const lines = net.connect(port, '127.0.0.1').on('error', () => {}); // written to after its end
  const sending = setInterval(() => lines.write('\r\n'), 50);
  await Promise.all([silent, lines].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
  clearInterval(sending);
});

test('a connection that was opened ahead may wait for its first request as long as the sidecar keeps it, and not for ever', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const { port } = await serve();
  const ahead = net.connect(port, '127.0.0.1');
  let ended = false;
  const end = new Promise((resolve) => ahead.on('close', resolve)).then(() => {
    ended = true;
  });
  await raw(port, LAST_GET); // came later, so the server knows of the other one, too
  vi.advanceTimersByTime(90_000);
  await raw(port, LAST_GET);
  expect(ended).toBe(false);
  vi.advanceTimersByTime(30_000);
  await end;
});

test('a connection that is used is not ended for the time since it was opened', async () => {
  const { port } = await serve({ unusedMs: 300 });
  const kept = net.connect(port, '127.0.0.1').on('error', () => {});
  const ended = new Promise((resolve) => kept.on('close', resolve));
  let answers = '';
  kept.on('data', (chunk) => {
    answers += chunk;
  });
  kept.write(GET);
  await sleep(600);
  kept.write(LAST_GET);
  await ended;
  expect(answers.match(/HTTP\/1.1 200 /g)).toHaveLength(2);
});

test('of a connection that leaves unused nothing stays', async () => {
  const { port } = await serve();
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  const before = timers();
  for (let n = 0; n < 100; n++) {
    const socket = net.connect(port, '127.0.0.1', () => socket.end());
    await new Promise((resolve) => socket.on('close', resolve)); // which the server has answered with its own end
  }
  await sleep(50);
  expect(timers() - before).toBeLessThan(50);
});

test('connections that have brought no request and do not leave by themselves do not hold up the stop, and silent ones not for a moment', async () => {
  const server = await serve();
  const left: string[] = [];
  for (const bytes of ['\r\n\r\n', 'GET /livez HT', 'hello\r\n\r\n', '']) {
    const ahead = net.connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
    onTestFinished(() => void ahead.destroy());
    ahead.on('error', () => {}).resume();
    ahead.on('end', () => left.push(bytes));
    ahead.write(bytes);
  }
  await sleep(200);
  const began = performance.now();
  await server.close(60_000);
  expect(performance.now() - began).toBeLessThan(20_000);
  await sleep(200);
  expect(left).toEqual(['hello\r\n\r\n', '', '\r\n\r\n', 'GET /livez HT']); // the first is told at once that this is no HTTP
});

test('a first request that has begun when it closes is waited for, its head and then its body', async () => {
  const server = await serve();
  const ahead = net.connect(server.port, '127.0.0.1').on('error', () => {});
  const ended = new Promise((resolve) => ahead.on('close', resolve));
  let answer = '';
  ahead.on('data', (chunk) => {
    answer += chunk;
  });
  ahead.write('POST /echo HT');
  await sleep(50);
  const closed = server.close(10_000);
  const accepts = () =>
    new Promise<boolean>((resolve) => {
      const socket = net.connect(server.port, '127.0.0.1', () => resolve(true));
      socket.on('error', () => resolve(false)).on('connect', () => socket.destroy());
    });
  while (await accepts()) await sleep(20);
  ahead.write('TP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a"');
  await sleep(1200); // when it waits for no head any more
  ahead.write(':1}');
  await Promise.all([closed, ended]);
  expect(answer).toMatch(/^HTTP\/1.1 200 [\s\S]*\{"a":1\}$/);
});

test('a small chunked body is read', async () => {
  const { port } = await serve();
  const bytes =
    'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n';
  expect(await raw(port, bytes)).toMatch(/\{"a":1\}$/);
});

test('a client that hangs up in the middle of its body leaves the server well', async () => {
  const { port } = await serve();
  const socket = net.connect(port, '127.0.0.1');
  socket.write(
    'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"a"',
  );
  await sleep(50);
  socket.destroy();
  await sleep(50);
  expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200);
});

test('closing tells who comes to leave, lets the request under way finish, and then drops what is idle', async () => {
  const server = await serve();
  const agent = new http.Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const get = (path: string) =>
    new Promise<http.IncomingMessage>((resolve, reject) => {
      http
        .get({ port: server.port, host: '127.0.0.1', path, agent }, (res) => {
          res.resume();
          res.on('end', () => resolve(res));
        })
        .on('error', reject);
    });
  await Promise.all([get('/livez'), get('/livez'), get('/livez')]); // kept connections
  const slow = get('/slow');
  await sleep(50);
  const startedAt = performance.now();
  const closed = server.close(5000);
  await sleep(100);
  for (const answer of await Promise.all([slow, get('/livez')])) {
    expect(answer.statusCode).toBe(200);
    expect(answer.headers.connection).toBe('close');
  }
  await closed; // though one connection was never used again
  expect(performance.now() - startedAt).toBeLessThan(4000);
  await expect(fetch(`http://127.0.0.1:${server.port}/livez`)).rejects.toThrow();
});

test('clients that use their connections all the time lose no request when it closes', async () => {
  const server = await serve();
  let left = 0;
  const lost: unknown[] = [];
  const client = async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let told = false; !told; ) {
      await sleep(Math.random() * 10);
      told = await new Promise<boolean>((resolve) => {
        http
          .request({ port: server.port, host: '127.0.0.1', path: '/livez', agent }, (res) => {
            res.resume();
            res.on('end', () => resolve(res.headers.connection === 'close'));
          })
          .on('error', (err) => resolve(lost.push(err) > 0))
          .end();
      });
    }
    left += 1;
  };
  const clients = Array.from({ length: 40 }, client);
  await sleep(300);
  await server.close(5000);
  await Promise.all(clients);
  expect({ left, lost }).toEqual({ left: 40, lost: [] });
});

test('a request that takes longer than the grace is cut', async () => {
  const server = await serve();
  const slow = fetch(`http://127.0.0.1:${server.port}/endless`).catch(() => 'cut');
  await sleep(50);
  await server.close(100);
  expect(await slow).toBe('cut');
});

test('idle connections are kept for longer than the 90 s after which the sidecar closes its side', async () => {
  const { port } = await serve();
  const bytes = `GET /livez HTTP/1.1\r\nHost: a\r\ndapr-api-token: ${TEST_TOKEN}\r\n\r\n`;
  expect(await raw(port, bytes, 200)).toMatch(/keep-alive: timeout=120/i);
});

test('a port that is taken is an error, not a silence', async () => {
  const { port } = await serve();
  const app = createApp(testDeps());
  await expect(listen({ fetch: app.fetch, port, host: '127.0.0.1' })).rejects.toMatchObject({
    code: 'EADDRINUSE',
  });
});
