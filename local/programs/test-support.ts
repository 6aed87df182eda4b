import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { create } from 'tar';
import { onTestFinished } from 'vitest';
import { type InstalledName, PINS, type ProgramName } from './pins.ts';
import { currentPlatform } from './platform.ts';

/** A machine of its own for one test: an empty home, an empty cache, nothing on PATH, downloads switched off. */
export async function emptyMachine(): Promise<{ folder: string; env: NodeJS.ProcessEnv }> {
  const folder = await mkdtemp(join(tmpdir(), 'sidecart-programs-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const env = {
    HOME: join(folder, 'home'),
    PATH: join(folder, 'bin'),
    SIDECART_CACHE: join(folder, 'cache'),
    SIDECART_DAPR_RELEASES: 'none',
    SIDECART_NATS_RELEASES: 'none',
  };
  return { folder, env };
}

/** Writes a script that answers like the program when asked for its version, and does nothing else. */
export async function fakeProgram(
  path: string,
  program: ProgramName | InstalledName,
  version: string,
): Promise<string> {
  const answers = {
    daprd: version,
    sentry: `level=info msg="Starting Dapr Sentry certificate authority -- version ${version} -- commit abc"`,
    natsServer: `nats-server: v${version}`,
    redisServer: `Redis server v=${version} sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0`,
  };
  return await writeScript(path, `echo '${answers[program]}'`);
}

export async function writeScript(path: string, body: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
  return path;
}

/** Files of a release page, by address below its base. */
export type Pages = Map<string, Buffer | RequestListener>;

/** Adds a release in the layout of the program's release page: the archive and its checksum. */
export async function addRelease(
  pages: Pages,
  program: ProgramName,
  version: string,
  o: { checksum?: string; archive?: Buffer; holds?: string } = {},
): Promise<string> {
  const { os, arch } = currentPlatform();
  const { binary } = PINS[program];
  const nats = program === 'natsServer';
  const name = nats ? `nats-server-v${version}-${os}-${arch}` : `${program}_${os}_${arch}`;
  const archive =
    o.archive ?? (await archiveOf(program, nats ? `${name}/${binary}` : binary, o.holds ?? version));
  const checksum = o.checksum ?? createHash('sha256').update(archive).digest('hex');
  const path = `/v${version}/${name}.tar.gz`;
  pages.set(path, archive);
  if (nats)
    pages.set(
      `/v${version}/SHA256SUMS`,
      Buffer.from(`${'0'.repeat(64)}  other.zip\n${checksum}  ${name}.tar.gz\n`),
    );
  else pages.set(`${path}.sha256`, Buffer.from(`${checksum} *${name}.tar.gz\n`));
  return path;
}

/** A tar.gz with a fake program at `entry` in it. */
export async function archiveOf(program: ProgramName, entry: string, version: string): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'sidecart-archive-'));
  try {
    await fakeProgram(join(folder, entry), program, version);
    await create({ gzip: true, file: join(folder, 'a.tar.gz'), cwd: folder }, [entry]);
    return await readFile(join(folder, 'a.tar.gz'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A release page on this machine. `requests` are the addresses asked for so far. */
export async function servePages(pages: Pages): Promise<{ url: string; requests: string[] }> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    requests.push(path);
    const page = pages.get(path);
    if (typeof page === 'function') return page(request, response);
    response.writeHead(page === undefined ? 404 : 200).end(page);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}
