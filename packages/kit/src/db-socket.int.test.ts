import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { type TestAuthority, testAuthority } from '../../../tests/certificates.ts';
import { isTransientDbError } from './db-errors.ts';
import { openPostgres, openSocket } from './db-socket.ts';

// Servers that speak the first few bytes of PostgreSQL's protocol, for what a real one never says.

let authority: TestAuthority;
beforeAll(() => {
  authority = testAuthority('db-socket.int.test');
});

async function server(onRequest: (socket: net.Socket) => void): Promise<number> {
  const sockets = new Set<net.Socket>();
  const listener = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', (asked) => {
      expect(asked.toString('hex')).toBe('0000000804d2162f');
      onRequest(socket);
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });
  return (listener.address() as AddressInfo).port;
}

/** Says yes and shows a certificate for these names; `seen` hears which name was asked for. */
function speaker(names: string[], seen: (name: string | false | null) => void) {
  const { cert, key } = authority.issue(...names);
  return (socket: net.Socket) => {
    socket.write('S');
    const secure = new tls.TLSSocket(socket, { isServer: true, cert, key });
    secure.on('error', () => {});
    secure.on('secure', () => {
      seen(secure.servername);
      secure.write('hello');
    });
  };
}

async function open(port: number, o: { host?: string; ca?: string; timeoutMs?: number } = {}) {
  const socket = await openSocket({
    host: o.host ?? '127.0.0.1',
    port,
    tls: { mode: 'verify-full', ca: o.ca ?? authority.cert },
    signal: AbortSignal.timeout(o.timeoutMs ?? 5000),
  });
  onTestFinished(() => void socket.destroy());
  return socket;
}

test('a name is asked for and checked; an address is checked only', async () => {
  const asked: unknown[] = [];
  const byName = await server(speaker(['localhost'], (name) => asked.push(name)));
  const byAddress = await server(speaker(['127.0.0.1'], (name) => asked.push(name)));
  for (const socket of [await open(byName, { host: 'localhost' }), await open(byAddress)])
    expect(String(await new Promise((resolve) => socket.once('data', resolve)))).toBe('hello');
  expect(asked).toEqual(['localhost', false]);
  await expect(open(byName)).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  await expect(open(byAddress, { host: 'localhost' })).rejects.toThrow(/a name that is in its certificate/);
});

test('require takes any certificate', async () => {
  const port = await server(speaker(['elsewhere.test'], () => {}));
  const signal = AbortSignal.timeout(5000);
  const socket = await openSocket({ host: '127.0.0.1', port, tls: { mode: 'require' }, signal });
  socket.destroy();
});

test('a server without TLS is refused, and what to do is said', async () => {
  const port = await server((socket) => socket.write('N'));
  const refused = open(port);
  await expect(refused).rejects.toMatchObject({ code: 'TLS_REFUSED' });
  await expect(refused).rejects.toThrow(/does not speak TLS; switch it on there, or use sslmode=disable/);
  expect(isTransientDbError(await refused.catch((err) => err))).toBe(false);
});

test.each<[string, (socket: net.Socket) => void]>([
  ['hangs up', (socket) => socket.end()],
  ['resets', (socket) => socket.resetAndDestroy()],
  ['answers with an error', (socket) => socket.write('E\0\0\0\x10Mfork failed\0\0')],
  ['sends more than its yes, as who wants to be heard before TLS does', (socket) => socket.write('SZ')],
  ['hangs up in the middle of the handshake', (socket) => socket.write('S', () => socket.end())],
  ['says nothing', () => {}],
  ['says nothing after its yes', (socket) => socket.write('S')],
])('a server that %s is one that is away', async (_what, answer) => {
  const port = await server(answer);
  const startedAt = performance.now();
  const err = await open(port, { timeoutMs: 300 }).catch((reason: unknown) => reason);
  expect(isTransientDbError(err)).toBe(true);
  expect(String(err)).not.toContain('fork failed');
  expect(performance.now() - startedAt).toBeLessThan(1500);
});

test('an attempt that is given up ends with the reason', async () => {
  const port = await server(() => {});
  const giveUp = new AbortController();
  const reason = new Error('no longer wanted');
  const attempt = openSocket({ host: '127.0.0.1', port, tls: { mode: 'require' }, signal: giveUp.signal });
  setTimeout(() => giveUp.abort(reason), 50);
  await expect(attempt).rejects.toMatchObject({ cause: reason });
  await expect(open(port, { timeoutMs: 0 })).rejects.toThrow();
});

test('a socket that fails later ends nothing when nobody listens', async () => {
  let other: net.Socket | undefined;
  const answer = speaker(['127.0.0.1'], () => {});
  const port = await server((socket) => {
    other = socket;
    answer(socket);
  });
  const socket = await open(port);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  other?.resetAndDestroy();
  await closed;
});

test('a postgres.js of its own is refused in the same words', async () => {
  const port = await server((socket) => socket.write('N'));
  const sql = openPostgres(`postgres://u:p@127.0.0.1:${port}/d?sslmode=require`, {
    max: 1,
    connect_timeout: 1,
  });
  await expect(sql`select 1`).rejects.toThrow(/does not speak TLS/);
  const silent = await server(() => {});
  const other = openPostgres(`postgres://u:p@127.0.0.1:${silent}/d?sslmode=require`, {
    max: 1,
    connect_timeout: 0.3,
  });
  await expect(other`select 1`).rejects.toMatchObject({ code: 'CONNECT_TIMEOUT' });
  await Promise.all([sql.end(), other.end()]);
});
