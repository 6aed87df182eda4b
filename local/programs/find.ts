import { access, constants, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import semver from 'semver';
import { type Cache, cachedPrograms } from './cache.ts';
import { ProgramError } from './errors.ts';
import { PINS, type ProgramName } from './pins.ts';
import type { Platform } from './platform.ts';
import { askVersion } from './version.ts';

/** An executable that fits, and where it came from. */
export interface Program {
  path: string;
  version: string;
  source: 'env' | 'path' | 'dapr-install' | 'cache' | 'download' | 'build';
}

export interface FindOptions {
  env: NodeJS.ProcessEnv;
  platform: Platform;
  cache: Cache;
  /** Daprd with all components: a reduced one in the cache does not count. */
  full: boolean;
}

/**
 * Looks for a program on this machine: the path given by environment; PATH; Dapr's own install folder; the cache.
 * @returns the first that fits, if any, and what was seen and why it does not fit.
 * @throws ProgramError when the path given by environment does not fit: a person chose it, so no other is taken.
 */
export async function findProgram(
  program: ProgramName,
  o: FindOptions,
): Promise<{ found: Program | undefined; passedOver: string[] }> {
  const pin = PINS[program];
  const given = o.env[pin.pathEnv];
  if (given) return { found: await checkGiven(program, resolve(given)), passedOver: [] };

  const passedOver: string[] = [];
  for (const candidate of await candidates(program, o)) {
    const version = await askVersion(program, candidate.path).catch((err: Error) => err);
    if (version instanceof Error) passedOver.push(version.message);
    else if (!semver.satisfies(version, pin.accepts))
      passedOver.push(`${candidate.path} is version ${version}`);
    else return { found: { ...candidate, version }, passedOver };
  }
  return { found: undefined, passedOver };
}

async function checkGiven(program: ProgramName, path: string): Promise<Program> {
  const { accepts, binary, pathEnv } = PINS[program];
  const cure = `Set ${pathEnv} to a ${binary} ${accepts}, or unset it.`;
  if (!(await isExecutable(path)))
    throw new ProgramError(`${pathEnv}: ${path} is not an executable file.`, cure);
  const version = await askVersion(program, path).catch((cause: Error) => {
    throw new ProgramError(`${pathEnv}: ${cause.message}.`, cure, { cause });
  });
  if (!semver.satisfies(version, accepts)) {
    throw new ProgramError(`${pathEnv}: ${path} is ${binary} ${version}; needed is ${accepts}.`, cure);
  }
  return { path, version, source: 'env' };
}

async function candidates(program: ProgramName, o: FindOptions): Promise<Pick<Program, 'path' | 'source'>[]> {
  const { binary } = PINS[program];
  const onPath = (o.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  const daprFolder = join(o.env.DAPR_RUNTIME_PATH || o.env.HOME || homedir(), '.dapr', 'bin');
  const outside = [
    ...onPath.map((folder) => ({ path: resolve(folder, binary), source: 'path' as const })),
    ...(program === 'natsServer'
      ? []
      : [{ path: join(daprFolder, binary), source: 'dapr-install' as const }]),
  ];
  const present = await Promise.all(outside.map(async (c) => ((await isExecutable(c.path)) ? [c] : [])));
  const cached = await cachedPrograms(o.cache, program, o);
  return [...present.flat(), ...cached.map(({ path }) => ({ path, source: 'cache' as const }))];
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
