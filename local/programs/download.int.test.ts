import { readdir } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createHttp, type HttpLimits } from './http.ts';
import type { ProgramName } from './pins.ts';
import { ensurePrograms } from './programs.ts';
import { addRelease, archiveOf, emptyMachine, type Pages, servePages } from './test-support.ts';

/** A machine that can reach a release page with these releases on it, and has no Go. */
async function machineWith(releases: (pages: Pages) => Promise<unknown>) {
  const pages: Pages = new Map();
  await releases(pages);
  const { env } = await emptyMachine();
  const server = await servePages(pages);
  Object.assign(env, { SIDECART_DAPR_RELEASES: server.url, SIDECART_NATS_RELEASES: `${server.url}/` });
  return { env, requests: server.requests };
}

async function ensure(env: NodeJS.ProcessEnv, only: ProgramName = 'daprd', limits?: HttpLimits) {
  const lines: string[] = [];
  const progress = (line: string) => void lines.push(line);
  const o = { env, only: [only], progress, ...(limits === undefined ? {} : { limits }) };
  const result = await ensurePrograms(o).catch((err: Error) => err);
  return {
    lines,
    program: result instanceof Error ? undefined : result[only],
    error: result instanceof Error ? result.message : '',
  };
}

const cached = (env: NodeJS.ProcessEnv) => readdir(`${env.SIDECART_CACHE}/programs`).catch(() => []);

describe('which release is downloaded', () => {
  test('the newest 1.18, also after a gap in its numbers and when there is a 1.19', async () => {
    const { env } = await machineWith(async (pages) => {
      for (const version of ['1.18.1', '1.18.2', '1.18.3', '1.18.7', '1.18.10', '1.19.0'])
        await addRelease(pages, 'daprd', version);
    });
    expect((await ensure(env)).program).toMatchObject({ version: '1.18.10', source: 'download' });
  });

  test('not one whose files are not there yet', async () => {
    const { env } = await machineWith(async (pages) => {
      await addRelease(pages, 'sentry', '1.18.4');
      await addRelease(pages, 'daprd', '1.18.3');
      await addRelease(pages, 'daprd', '1.18.4');
      for (const path of pages.keys()) if (path.startsWith('/v1.18.4/daprd')) pages.delete(path);
    });
    expect((await ensure(env)).program).toMatchObject({ version: '1.18.3' });
    expect((await ensure(env, 'sentry')).program).toMatchObject({ version: '1.18.4' });
  });

  test('of nats-server the pinned one, checked against the list of all checksums', async () => {
    const { env } = await machineWith(async (pages) => {
      await addRelease(pages, 'natsServer', '2.15.2');
      await addRelease(pages, 'natsServer', '2.15.3');
    });
    expect((await ensure(env, 'natsServer')).program).toMatchObject({
      version: '2.15.2',
      source: 'download',
    });
  });

  test('none where downloads are switched off, and nothing is asked for', async () => {
    const { env, requests } = await machineWith((pages) => addRelease(pages, 'daprd', '1.18.2'));
    env.SIDECART_DAPR_RELEASES = 'none';
    expect((await ensure(env)).error).toContain('download: switched off by SIDECART_DAPR_RELEASES=none');
    expect(requests).toEqual([]);
  });
});

describe('what is not as published is discarded, said, and the next source is tried', () => {
  test.each<[string, Parameters<typeof addRelease>[3], string]>([
    ['a wrong checksum', { checksum: 'ab'.repeat(32) }, 'has the wrong checksum'],
    ['no checksum of this file', { checksum: 'none' }, 'there is no published checksum'],
    ['no archive', { archive: Buffer.from('<html>sorry</html>') }, 'is a broken archive'],
    ['a broken archive', { archive: gzipSync(Buffer.alloc(2000, 'x')) }, 'is a broken archive'],
    ['another version inside', { holds: '1.18.3' }, 'holds version 1.18.3'],
  ])('%s', async (_, fault, message) => {
    const { env } = await machineWith((pages) => addRelease(pages, 'daprd', '1.18.2', fault));
    const { error, lines } = await ensure(env);
    expect(error).toContain(message);
    expect(error).toContain('build: Go is not installed');
    expect(lines).toContainEqual(expect.stringMatching(new RegExp(`^daprd: no download: .*${message}`)));
    expect(await cached(env)).toEqual([]);
  });

  test('an archive that was cut off', async () => {
    const whole = await archiveOf('daprd', 'daprd', '1.18.2');
    const { env } = await machineWith((pages) =>
      addRelease(pages, 'daprd', '1.18.2', { archive: whole.subarray(0, whole.length - 40) }),
    );
    expect((await ensure(env)).error).toContain('is a broken archive');
    expect(await cached(env)).toEqual([]);
  });

  test('an archive without the program', async () => {
    const archive = await archiveOf('daprd', 'bin/daprd', '1.18.2');
    const { env } = await machineWith((pages) => addRelease(pages, 'daprd', '1.18.2', { archive }));
    expect((await ensure(env)).error).toContain('has no daprd in it');
  });
});

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** A server that takes connections and never says a word. */
async function silentServer(): Promise<{ port: number }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => void sockets.push(socket));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port };
}

describe('no connection', () => {
  test('gives up after 5 seconds', { timeout: 20_000 }, async () => {
    const { port } = await silentServer();
    const { env } = await emptyMachine();
    env.SIDECART_DAPR_RELEASES = `http://127.0.0.1:${port}`;
    const startedAt = Date.now();
    expect((await ensure(env)).error).toContain(`no connection to 127.0.0.1:${port}: none within 5 s`);
    const took = Date.now() - startedAt;
    expect(took).toBeGreaterThan(4800);
    expect(took).toBeLessThan(7000);
  });

  test('that is there but never gets as far as TLS is none', async () => {
    const { port } = await silentServer();
    const { env } = await emptyMachine();
    env.SIDECART_DAPR_RELEASES = `https://127.0.0.1:${port}`;
    const limits = { connectMs: 200, stallMs: 60_000 };
    expect((await ensure(env, 'daprd', limits)).error).toContain('none within 0.2 s');
  });

  test('a server that was out of reach once is not waited for again', async () => {
    const { port } = await silentServer();
    const http = createHttp({ connectMs: 200, stallMs: 200 });
    await expect(http.text(`http://127.0.0.1:${port}/a`)).rejects.toThrow('none within 0.2 s');
    const startedAt = Date.now();
    await expect(http.text(`http://127.0.0.1:${port}/b`)).rejects.toThrow('no connection');
    expect(Date.now() - startedAt).toBeLessThan(100);
  });

  test('refused is known at once', async () => {
    const { env } = await emptyMachine();
    env.SIDECART_DAPR_RELEASES = `http://127.0.0.1:${await closedPort()}`;
    const startedAt = Date.now();
    expect((await ensure(env)).error).toContain('ECONNREFUSED');
    expect(Date.now() - startedAt).toBeLessThan(2000);
  });
});

describe('a connection that is there', () => {
  const limits = { connectMs: 300, stallMs: 300 };

  /** Sends the page in pieces with pauses between; `until` pieces, then what `end` does. */
  function drip(page: Buffer, o: { pauseMs: number; pieces: number; until?: number }): RequestListener {
    return async (_, response) => {
      response.writeHead(200, { 'content-length': page.length });
      const size = Math.ceil(page.length / o.pieces);
      for (let piece = 0; piece < (o.until ?? o.pieces); piece++) {
        response.write(page.subarray(piece * size, (piece + 1) * size));
        await new Promise((done) => setTimeout(done, o.pauseMs));
      }
      if (o.until === undefined) response.end();
    };
  }

  test('may be slow: only the first answer and a pause have a limit', async () => {
    const { env } = await machineWith(async (pages) => {
      const path = await addRelease(pages, 'daprd', '1.18.2');
      pages.set(path, drip(pages.get(path) as Buffer, { pauseMs: 100, pieces: 12 }));
    });
    const startedAt = Date.now();
    expect((await ensure(env, 'daprd', limits)).program).toMatchObject({ source: 'download' });
    expect(Date.now() - startedAt).toBeGreaterThan(3 * limits.connectMs);
  });

  test('that falls silent half-way is tried three times, then given up', async () => {
    const { env, requests } = await machineWith(async (pages) => {
      const path = await addRelease(pages, 'daprd', '1.18.2');
      pages.set(path, drip(pages.get(path) as Buffer, { pauseMs: 1, pieces: 4, until: 2 }));
    });
    expect((await ensure(env, 'daprd', limits)).error).toContain('broke off: nothing came for 0.3 s');
    expect(requests.filter((path) => path.endsWith('.tar.gz'))).toHaveLength(3);
    expect(await cached(env)).toEqual([]);
  });

  test('that broke half-way, or a server that was busy, is tried again', async () => {
    const { env } = await machineWith(async (pages) => {
      const path = await addRelease(pages, 'daprd', '1.18.2');
      const page = pages.get(path) as Buffer;
      const answers: RequestListener[] = [
        (_, response) => void response.writeHead(503).end(),
        (_, response) => {
          response.writeHead(200, { 'content-length': page.length });
          response.write(page.subarray(0, 50), () => response.destroy());
        },
      ];
      pages.set(path, (request, response) => {
        const answer = answers.shift();
        if (answer) answer(request, response);
        else response.end(page);
      });
    });
    expect((await ensure(env)).program).toMatchObject({ source: 'download' });
  });

  test('ends when it is given up', async () => {
    const giveUp = new AbortController();
    const { env } = await machineWith(async (pages) => {
      const path = await addRelease(pages, 'daprd', '1.18.2');
      pages.set(path, (_, response) => {
        response.writeHead(200).write('some', () => giveUp.abort(new Error('given up')));
      });
    });
    const ensuring = ensurePrograms({ env, only: ['daprd'], signal: giveUp.signal, progress: () => {} });
    await expect(ensuring).rejects.toEqual(new Error('given up'));
    expect(await readdir(`${env.SIDECART_CACHE}/tmp`)).toEqual([]);
  });

  test('a refusal is final', async () => {
    const { env, requests } = await machineWith(async (pages) => {
      const path = await addRelease(pages, 'daprd', '1.18.2');
      pages.set(path, (_, response) => void response.writeHead(403).end());
    });
    expect((await ensure(env)).error).toContain('answers 403');
    expect(requests.filter((path) => path.endsWith('.tar.gz'))).toHaveLength(1);
  });
});
