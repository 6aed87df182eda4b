import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Program } from './find.ts';
import { ensurePrograms } from './programs.ts';
import { addRelease, emptyMachine, type Pages, servePages } from './test-support.ts';

/** Another process that gets daprd. `lines` are its progress, the last one is what it got. */
function otherProcess(env: NodeJS.ProcessEnv) {
  const script = `
    const { ensurePrograms } = await import('./local/programs/programs.ts');
    const { daprd } = await ensurePrograms({ env: process.env, only: ['daprd'], progress: console.log });
    console.log(JSON.stringify(daprd));
  `;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines: string[] = [];
  const ended = new Promise<void>((done) => {
    createInterface(child.stdout)
      .on('line', (line) => lines.push(line))
      .on('close', done);
  });
  const result = async () => {
    await ended;
    return JSON.parse(lines.at(-1) ?? '') as Program;
  };
  return { child, lines, result };
}

const ensureDaprd = async (env: NodeJS.ProcessEnv) =>
  (await ensurePrograms({ env, only: ['daprd'], progress: () => {} })).daprd;

const archives = (requests: string[]) => requests.filter((path) => path.endsWith('.tar.gz'));

describe('processes that want the same program at the same time', () => {
  test('get it once, and the same one', { timeout: 30_000 }, async () => {
    const { env } = await emptyMachine();
    const pages: Pages = new Map();
    const path = await addRelease(pages, 'daprd', '1.18.2');
    const page = pages.get(path);
    const { promise: everybodyWaits, resolve: goOn } = Promise.withResolvers<void>();
    pages.set(path, (_, response) => void everybodyWaits.then(() => response.end(page)));
    const { url, requests } = await servePages(pages);
    env.SIDECART_DAPR_RELEASES = url;

    const first = ensureDaprd(env);
    const others = [otherProcess(env), otherProcess(env)];
    const waits = 'daprd: another process is getting it; waiting for that';
    await vi.waitFor(() => others.forEach(({ lines }) => void expect(lines).toContain(waits)), 4000);
    goOn();
    const got = await Promise.all([first, ...others.map((other) => other.result())]);
    expect(new Set(got.map((program) => program.path)).size).toBe(1);
    expect(archives(requests)).toHaveLength(1);
    expect(got.map((program) => program.source)).toEqual(['download', 'cache', 'cache']);
    expect(await readdir(join(env.SIDECART_CACHE ?? '', 'tmp'))).toEqual([]);
    expect(await readdir(join(env.SIDECART_CACHE ?? '', 'locks'))).toEqual([]);
  });

  test('one that is killed half-way leaves nothing to be used, and nothing in the way', {
    timeout: 30_000,
  }, async () => {
    const { env } = await emptyMachine();
    const pages: Pages = new Map();
    const path = await addRelease(pages, 'daprd', '1.18.2');
    const page = pages.get(path) as Buffer;
    const { url } = await servePages(pages);
    env.SIDECART_DAPR_RELEASES = url;
    const { child: doomed } = otherProcess(env);
    await new Promise<void>((halfWay) => {
      pages.set(path, (_, response) => {
        response.writeHead(200, { 'content-length': page.length });
        response.write(page.subarray(0, 100), () => halfWay());
      });
    });
    expect(await readdir(join(env.SIDECART_CACHE ?? '', 'tmp'))).toHaveLength(1);
    doomed.kill('SIGKILL');
    await new Promise((gone) => doomed.once('exit', gone));

    pages.set(path, page);
    const startedAt = Date.now();
    expect(await ensureDaprd(env)).toMatchObject({ source: 'download' });
    expect(Date.now() - startedAt).toBeLessThan(3000);
    expect(await readdir(join(env.SIDECART_CACHE ?? '', 'tmp'))).toEqual([]);
  });
});

test('a program in the cache that does not run is replaced', async () => {
  const { env } = await emptyMachine();
  const pages: Pages = new Map();
  await addRelease(pages, 'daprd', '1.18.2');
  env.SIDECART_DAPR_RELEASES = (await servePages(pages)).url;
  const first = await ensureDaprd(env);
  await truncate(first.path, 0);
  expect(await ensureDaprd(env)).toEqual(first);
  expect(await readFile(first.path, 'utf8')).toContain('echo');
});

test('what was never finished is not looked at', async () => {
  const { env } = await emptyMachine();
  const left = join(env.SIDECART_CACHE ?? '', 'tmp', 'daprd.abc', 'finished', 'daprd');
  await mkdir(dirname(left), { recursive: true });
  await writeFile(left, '#!/bin/sh\necho 1.18.2\n', { mode: 0o755 });
  await expect(ensureDaprd(env)).rejects.toThrow('could not be had');
});

test('a cache folder that cannot be made is said, with the cure', async () => {
  const { folder, env } = await emptyMachine();
  await writeFile(join(folder, 'file'), '');
  env.SIDECART_CACHE = join(folder, 'file', 'cache');
  const err = await ensureDaprd(env).catch((thrown) => thrown);
  expect(err.message).toContain(env.SIDECART_CACHE);
  expect(err.cure).toBe('Set SIDECART_CACHE to a folder that you may write to.');
});
