import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, open, readdir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import envPaths from 'env-paths';
import semver from 'semver';
import { withLock } from '../plain/lock.mjs';
import { ProgramError } from './errors.ts';
import { DAPR_COMPONENTS, PINS, type ProgramName } from './pins.ts';
import type { Platform } from './platform.ts';

/**
 * What kind of executable a cached program is: a `release`, `built` from the whole source, or `reduced`, a daprd
 * with the components of pins.ts only. The last names its list, so that another list is another program.
 */
export type Kind = 'release' | 'built' | `reduced.${string}`;

export interface Cache {
  readonly folder: string;
}

/** The user's cache, outside any checkout: SIDECART_CACHE, or what this system has for that. */
export function openCache(env: NodeJS.ProcessEnv): Cache {
  return { folder: resolve(env.SIDECART_CACHE || envPaths('sidecart', { suffix: '' }).cache) };
}

/** The kind that a build gives. */
export function builtKind(program: ProgramName, full: boolean): Kind {
  if (program !== 'daprd' || full) return 'built';
  const list = [...DAPR_COMPONENTS].sort().join('\n');
  return `reduced.${createHash('sha256').update(list).digest('hex').slice(0, 8)}`;
}

/** Cached executables of the wanted kinds that call themselves a fitting version, newest first. */
export async function cachedPrograms(
  cache: Cache,
  program: ProgramName,
  o: { platform: Platform; full: boolean },
): Promise<{ path: string; version: string }[]> {
  const { binary, accepts } = PINS[program];
  const name =
    /^(?<binary>[a-z-]+)-(?<version>\d+\.\d+\.\d+)-(?<kind>release|built|reduced\.\w+)-(?<system>\w+-\w+)$/;
  const kinds = ['release', builtKind(program, o.full)];
  const entries = await readdir(programsFolder(cache)).catch(() => []);
  return entries
    .map((entry) => ({ entry, ...name.exec(entry)?.groups }) as { entry: string } & Record<string, string>)
    .filter((e) => e.binary === binary && e.system === `${o.platform.os}-${o.platform.arch}`)
    .filter((e) => kinds.includes(e.kind ?? '') && semver.satisfies(e.version ?? '', accepts))
    .map((e) => ({ path: join(programsFolder(cache), e.entry, binary), version: e.version ?? '' }))
    .sort((a, b) => semver.rcompare(a.version, b.version));
}

/**
 * Runs `work` with an empty folder on the cache's file system, while no other process puts this program into the
 * cache. Folders that killed processes left behind are removed.
 */
export async function whileFilling<T>(
  cache: Cache,
  program: ProgramName,
  work: (scratch: string) => Promise<T>,
  o: { onWait: () => void; signal: AbortSignal | undefined },
): Promise<T> {
  const { binary } = PINS[program];
  const temporary = join(cache.folder, 'tmp');
  await makeWritable(temporary);
  return await withLock(
    join(cache.folder, 'locks', binary),
    async () => {
      for (const entry of await readdir(temporary)) {
        if (entry.startsWith(`${binary}.`))
          await rm(join(temporary, entry), { recursive: true, force: true });
      }
      const scratch = await mkdtemp(join(temporary, `${binary}.`));
      try {
        return await work(scratch);
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
    },
    o,
  );
}

/**
 * Puts a finished executable into the cache, in one step: whoever looks sees none or all of it, after a power cut too.
 * @returns its path there.
 */
export async function putIntoCache(
  cache: Cache,
  program: ProgramName,
  o: { executable: string; version: string; kind: Kind; platform: Platform; scratch: string },
): Promise<string> {
  const { binary } = PINS[program];
  const prepared = join(o.scratch, 'finished');
  await mkdir(prepared);
  await rename(o.executable, join(prepared, binary));
  await chmod(join(prepared, binary), 0o755);
  await flush(join(prepared, binary));
  await flush(prepared);

  await mkdir(programsFolder(cache), { recursive: true });
  const target = join(
    programsFolder(cache),
    `${binary}-${o.version}-${o.kind}-${o.platform.os}-${o.platform.arch}`,
  );
  // One that is there already was found not to work, or it would have been taken.
  await rename(target, join(o.scratch, 'broken')).catch(ignoreMissing);
  await rename(prepared, target);
  await flush(programsFolder(cache));
  return join(target, binary);
}

function programsFolder(cache: Cache): string {
  return join(cache.folder, 'programs');
}

async function makeWritable(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new ProgramError(
      `The cache folder ${folder} cannot be made: ${(cause as Error).message}`,
      'Set SIDECART_CACHE to a folder that you may write to.',
      { cause },
    );
  }
}

async function flush(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

function ignoreMissing(err: NodeJS.ErrnoException): void {
  if (err.code !== 'ENOENT') throw err;
}
