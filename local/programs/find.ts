import { access, constants, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import semver from 'semver';
import { type Cache, cachedPrograms } from './cache.ts';
import { ProgramError } from './errors.ts';
import { INSTALLED, type InstalledName, PINS, type ProgramName, type Wanted } from './pins.ts';
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
export async function findProgram(program: ProgramName, o: FindOptions): Promise<Found> {
  const pin = PINS[program];
  const daprFolder = join(o.env.DAPR_RUNTIME_PATH || o.env.HOME || homedir(), '.dapr', 'bin');
  const places: Place[] = [
    ...onPath(pin, o.env),
    ...(program === 'natsServer'
      ? []
      : [{ path: join(daprFolder, pin.binary), source: 'dapr-install' as const }]),
    ...(await cachedPrograms(o.cache, program, o)).map(({ path }) => ({ path, source: 'cache' as const })),
  ];
  return await firstThatFits(program, pin, places, o.env);
}

/** As findProgram, for a program of the system's own packages: by environment or on PATH. */
export async function findInstalled(program: InstalledName, env: NodeJS.ProcessEnv): Promise<Found> {
  const wanted = INSTALLED[program];
  return await firstThatFits(program, wanted, onPath(wanted, env), env);
}

/** The first that fits, if any, and what was seen and why it does not fit. */
export interface Found {
  found: Program | undefined;
  passedOver: string[];
}

type Place = Pick<Program, 'path' | 'source'>;

async function firstThatFits(
  program: ProgramName | InstalledName,
  wanted: Wanted,
  places: Place[],
  env: NodeJS.ProcessEnv,
): Promise<Found> {
  const given = env[wanted.pathEnv];
  if (given) return { found: await checkGiven(program, wanted, resolve(given)), passedOver: [] };

  const passedOver: string[] = [];
  for (const place of places) {
    if (!(await isExecutable(place.path))) continue;
    const version = await askVersion(program, place.path).catch((err: Error) => err);
    if (version instanceof Error) passedOver.push(version.message);
    else if (!semver.satisfies(version, wanted.accepts))
      passedOver.push(`${place.path} is version ${version}`);
    else return { found: { ...place, version }, passedOver };
  }
  return { found: undefined, passedOver };
}

async function checkGiven(
  program: ProgramName | InstalledName,
  { accepts, binary, pathEnv }: Wanted,
  path: string,
): Promise<Program> {
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

function onPath({ binary }: Wanted, env: NodeJS.ProcessEnv): Place[] {
  return (env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => ({ path: resolve(folder, binary), source: 'path' }));
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
