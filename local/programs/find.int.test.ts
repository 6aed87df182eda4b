import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { builtKind } from './cache.ts';
import { ProgramError } from './errors.ts';
import { PINS, type ProgramName } from './pins.ts';
import { currentPlatform } from './platform.ts';
import { ensurePrograms, inspectPrograms } from './programs.ts';
import { addRelease, emptyMachine, fakeProgram, type Pages, servePages } from './test-support.ts';

const { os, arch } = currentPlatform();

function cachePath(env: NodeJS.ProcessEnv, program: ProgramName, version: string, kind: string): string {
  const { binary } = PINS[program];
  return join(env.SIDECART_CACHE ?? '', 'programs', `${binary}-${version}-${kind}-${os}-${arch}`, binary);
}

async function ensureDaprd(env: NodeJS.ProcessEnv, full = false) {
  return (await ensurePrograms({ env, only: ['daprd'], full, progress: () => {} })).daprd;
}

describe('where a program is found', () => {
  test('the path by environment, PATH, the folder of Dapr, the cache, a download: in this order', async () => {
    const { folder, env } = await emptyMachine();
    const pages: Pages = new Map();
    for (const version of ['1.18.2', '1.18.6']) await addRelease(pages, 'daprd', version);
    env.SIDECART_DAPR_RELEASES = (await servePages(pages)).url;
    const places = [
      { source: 'env', path: join(folder, 'given', 'my-daprd'), version: '1.18.2' },
      { source: 'path', path: join(folder, 'bin', 'daprd'), version: '1.18.3' },
      { source: 'dapr-install', path: join(folder, 'home', '.dapr', 'bin', 'daprd'), version: '1.18.4' },
      { source: 'cache', path: cachePath(env, 'daprd', '1.18.5', 'release'), version: '1.18.5' },
    ];
    for (const place of places) await fakeProgram(place.path, 'daprd', place.version);
    env.SIDECART_DAPRD = places[0]?.path;

    for (const place of places) {
      expect(await ensureDaprd(env)).toEqual(place);
      await rm(place.path);
      delete env.SIDECART_DAPRD;
    }
    expect(await ensureDaprd(env)).toMatchObject({ source: 'download', version: '1.18.6' });
    expect(await ensureDaprd(env)).toMatchObject({ source: 'cache', version: '1.18.6' });
  });

  test('each program has its own variable and name', async () => {
    const { folder, env } = await emptyMachine();
    env.SIDECART_SENTRY = await fakeProgram(join(folder, 's'), 'sentry', '1.18.2');
    env.SIDECART_NATS_SERVER = await fakeProgram(join(folder, 'n'), 'natsServer', '2.15.2');
    await fakeProgram(join(folder, 'bin', 'daprd'), 'daprd', '1.18.2');
    expect(await ensurePrograms({ env, progress: () => {} })).toEqual({
      daprd: { path: join(folder, 'bin', 'daprd'), version: '1.18.2', source: 'path' },
      sentry: { path: join(folder, 's'), version: '1.18.2', source: 'env' },
      natsServer: { path: join(folder, 'n'), version: '2.15.2', source: 'env' },
    });
  });
});

describe('which version fits', () => {
  test.each(['1.18.2', '1.18.3', '1.18.40'])('daprd %s', async (version) => {
    const { folder, env } = await emptyMachine();
    await fakeProgram(join(folder, 'bin', 'daprd'), 'daprd', version);
    expect(await ensureDaprd(env)).toMatchObject({ version, source: 'path' });
  });

  test.each(['1.18.1', '1.17.9', '1.19.0', '1.18.3-rc.1', 'edge'])('not daprd %s', async (version) => {
    const { folder, env } = await emptyMachine();
    const path = await fakeProgram(join(folder, 'bin', 'daprd'), 'daprd', version);
    await expect(ensureDaprd(env)).rejects.toThrow(`${path} is version ${version}`);
  });

  test('one further down PATH is taken when the first does not fit', async () => {
    const { folder, env } = await emptyMachine();
    await fakeProgram(join(folder, 'bin', 'daprd'), 'daprd', '1.16.0');
    const path = await fakeProgram(join(folder, 'bin2', 'daprd'), 'daprd', '1.18.2');
    env.PATH += `:${join(folder, 'bin2')}`;
    expect(await ensureDaprd(env)).toEqual({ path, version: '1.18.2', source: 'path' });
  });

  test('nats-server exactly as pinned', async () => {
    const { folder, env } = await emptyMachine();
    await fakeProgram(join(folder, 'bin', 'nats-server'), 'natsServer', '2.15.3');
    const [, , nats] = await inspectPrograms(env);
    expect(nats).toMatchObject({
      found: undefined,
      passedOver: [expect.stringContaining('is version 2.15.3')],
    });
  });
});

describe('a path given by environment that is no good is an error, and no other is taken', () => {
  test.each([
    [
      'a wrong version',
      async (path: string) => fakeProgram(path, 'daprd', '1.17.0'),
      /is daprd 1\.17\.0; needed is >=1\.18\.2 <1\.19/,
    ],
    ['no file', async () => {}, /is not an executable file/],
    [
      'another program',
      async (path: string) => fakeProgram(path, 'sentry', '1.18.2'),
      /does not say its version/,
    ],
  ])('%s', async (_, write, message) => {
    const { folder, env } = await emptyMachine();
    await fakeProgram(join(folder, 'bin', 'daprd'), 'daprd', '1.18.2');
    env.SIDECART_DAPRD = join(folder, 'given');
    await write(env.SIDECART_DAPRD);
    const err = await ensureDaprd(env).catch((thrown) => thrown);
    expect(err).toBeInstanceOf(ProgramError);
    expect(err.message).toMatch(message);
    expect(err.message).toContain('SIDECART_DAPRD');
    expect(err.cure).toBe('Set SIDECART_DAPRD to a daprd >=1.18.2 <1.19, or unset it.');
  });
});

describe('the cache', () => {
  test('its newest fitting version is taken', async () => {
    const { env } = await emptyMachine();
    for (const version of ['1.18.9', '1.18.10', '1.17.0', '1.19.0'])
      await fakeProgram(cachePath(env, 'daprd', version, 'release'), 'daprd', version);
    expect(await ensureDaprd(env)).toMatchObject({ version: '1.18.10', source: 'cache' });
  });

  test('a daprd without some components does not count where all are wanted, and the other way round', async () => {
    const { env } = await emptyMachine();
    const reduced = await fakeProgram(
      cachePath(env, 'daprd', '1.18.2', builtKind('daprd', false)),
      'daprd',
      '1.18.2',
    );
    await expect(ensureDaprd(env, true)).rejects.toThrow(ProgramError);
    const full = await fakeProgram(
      cachePath(env, 'daprd', '1.18.2', builtKind('daprd', true)),
      'daprd',
      '1.18.2',
    );
    expect((await ensureDaprd(env, true)).path).toBe(full);
    expect((await ensureDaprd(env, false)).path).toBe(reduced);
    const viaEnv = await ensurePrograms({
      env: { ...env, SIDECART_DAPRD_FULL: '1' },
      only: ['daprd'],
      progress: () => {},
    });
    expect(viaEnv.daprd.path).toBe(full);
  });

  test('a daprd that was built with another list of components does not count', async () => {
    const { env } = await emptyMachine();
    await fakeProgram(cachePath(env, 'daprd', '1.18.2', 'reduced.00000000'), 'daprd', '1.18.2');
    await expect(ensureDaprd(env)).rejects.toThrow(ProgramError);
  });

  test('a program of another platform does not count', async () => {
    const { env } = await emptyMachine();
    const path = cachePath(env, 'daprd', '1.18.2', 'release').replace(`-${os}-${arch}`, '-plan9-amd64');
    await fakeProgram(path, 'daprd', '1.18.2');
    await expect(ensureDaprd(env)).rejects.toThrow(ProgramError);
  });
});

test('what cannot be had says all that was tried and the ways out', async () => {
  const { folder, env } = await emptyMachine();
  await fakeProgram(join(folder, 'bin', 'nats-server'), 'natsServer', '2.9.0');
  const err = await ensurePrograms({ env, only: ['natsServer'], progress: () => {} }).catch(
    (thrown) => thrown,
  );
  expect(err).toBeInstanceOf(ProgramError);
  expect(err.message).toContain('nats-server is version 2.9.0');
  expect(err.message).toContain('download: switched off by SIDECART_NATS_RELEASES=none');
  expect(err.message).toContain('build: Go is not installed');
  expect(err.cure).toContain('SIDECART_NATS_SERVER');
  expect(err.cure).toContain('install Go 1.26.0 or newer');
});
