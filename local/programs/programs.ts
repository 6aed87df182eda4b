import { join } from 'node:path';
import { buildProgram, usableGo } from './build.ts';
import { builtKind, type Cache, type Kind, openCache, putIntoCache, whileFilling } from './cache.ts';
import { downloadProgram, findRelease, releasesBase } from './download.ts';
import { onlySourceError, ProgramError, SourceError } from './errors.ts';
import { findProgram, type Program } from './find.ts';
import { createHttp, type Http, type HttpLimits } from './http.ts';
import { ensureInstalled } from './installed.ts';
import { PINS, PROGRAMS, type ProgramName, type ServerName } from './pins.ts';
import { currentPlatform, type Platform } from './platform.ts';
import type { Progress } from './progress.ts';
import { askVersion } from './version.ts';

export interface EnsureOptions<N extends ProgramName = ProgramName> {
  env: NodeJS.ProcessEnv;
  progress: Progress;
  /** Which programs; all of them if not said. */
  only?: readonly N[];
  /** A daprd with all of Dapr's components. If not said: whether SIDECART_DAPRD_FULL is 1. */
  full?: boolean;
  /** Gives up: a download or a build ends, and its reason is thrown. */
  signal?: AbortSignal | undefined;
  /** How long servers may take; for tests. */
  limits?: HttpLimits;
}

interface Context {
  env: NodeJS.ProcessEnv;
  platform: Platform;
  cache: Cache;
  full: boolean;
  http: Http;
  progress: Progress;
  signal: AbortSignal | undefined;
}

/**
 * Gets the programs that the shop needs: the path given by environment (SIDECART_DAPRD, SIDECART_SENTRY,
 * SIDECART_NATS_SERVER), a fitting one on PATH or in Dapr's own install folder, the user's cache, a release download,
 * a build from source. The last two take a while and fill the cache.
 * @throws ProgramError saying everything that was tried, and the cure.
 */
export async function ensurePrograms<N extends ProgramName = ProgramName>(
  o: EnsureOptions<N>,
): Promise<Record<N, Program>> {
  const context: Context = {
    env: o.env,
    platform: currentPlatform(),
    cache: openCache(o.env),
    full: wantsFull(o.env, o.full),
    http: createHttp(o.limits, o.signal),
    progress: o.progress,
    signal: o.signal,
  };
  const names = o.only ?? (PROGRAMS as readonly N[]);
  const looked = await Promise.all(
    names.map(async (name) => ({ name, ...(await findProgram(name, context)) })),
  );
  const programs: Partial<Record<N, Program>> = {};
  // One after the other: each build uses every core, and the later ones share compiled packages with the first.
  for (const { name, found } of looked) programs[name] = found ?? (await supply(name, context));
  return programs as Record<N, Program>;
}

/** The program of a broker, got as the others are, or found as it was installed. */
export async function ensureServer(name: ServerName, o: EnsureOptions): Promise<Program> {
  if (name === 'redisServer') return await ensureInstalled(name, o.env);
  return (await ensurePrograms({ ...o, only: [name] }))[name];
}

async function supply(name: ProgramName, context: Context): Promise<Program> {
  const { binary } = PINS[name];
  const fill = async (scratch: string): Promise<Program> => {
    const { found, passedOver } = await findProgram(name, context); // whoever held the lock may have put it there
    if (found !== undefined) return found;
    const tried = [...passedOver];
    for (const [source, get] of sources) {
      try {
        const made = await get(name, context, scratch);
        const path = await putIntoCache(context.cache, name, {
          ...made,
          platform: context.platform,
          scratch,
        });
        return { path, version: made.version, source };
      } catch (err) {
        context.signal?.throwIfAborted();
        if (!(err instanceof SourceError)) throw err;
        tried.push(`${source}: ${err.message}`);
        context.progress(`${binary}: no ${source}: ${err.message}`);
      }
    }
    throw notToBeHad(name, tried);
  };
  return await whileFilling(context.cache, name, fill, {
    onWait: () => context.progress(`${binary}: another process is getting it; waiting for that`),
    signal: context.signal,
  });
}

/** Makes an executable below `scratch`. */
type Source = (
  name: ProgramName,
  context: Context,
  scratch: string,
) => Promise<{ executable: string; version: string; kind: Kind }>;

const download: Source = async (name, context, scratch) => {
  return { ...(await downloadProgram(name, { ...context, scratch })), kind: 'release' };
};

const build: Source = async (name, context, scratch) => {
  const pin = PINS[name];
  const kind = builtKind(name, context.full);
  const executable = join(scratch, 'built');
  const reduced = kind !== 'built';
  await buildProgram({ ...context, pin, output: executable, scratch: join(scratch, 'module'), reduced });
  const version = await askVersion(name, executable);
  if (version !== pin.builds) throw new SourceError(`the build calls itself ${version}, not ${pin.builds}`);
  return { executable, version, kind };
};

const sources = [
  ['download', download],
  ['build', build],
] as const;

function notToBeHad(name: ProgramName, tried: string[]): ProgramError {
  const pin = PINS[name];
  return new ProgramError(
    [`${pin.binary} ${pin.accepts} could not be had:`, ...tried.map((line) => `  - ${line}`)].join('\n'),
    `Either put a ${pin.binary} ${pin.accepts} on PATH, or set ${pin.pathEnv} to one, or install Go ${pin.go} or newer (https://go.dev/dl) so that it can be built here, or make a download possible (${pin.releasesEnv} sets the address).`,
  );
}

/** What is known of one program without getting it. */
export interface Inspection {
  name: ProgramName;
  found: Program | undefined;
  /** What was seen and does not fit, with the reason. */
  passedOver: string[];
  /** Why the path given by environment is no good. */
  refused?: ProgramError;
}

/** What of the programs is on this machine, without downloading or building anything. */
export async function inspectPrograms(
  env: NodeJS.ProcessEnv,
  names: readonly ProgramName[] = PROGRAMS,
): Promise<Inspection[]> {
  const context = { env, platform: currentPlatform(), cache: openCache(env), full: wantsFull(env) };
  return await Promise.all(
    names.map(async (name) => {
      try {
        return { name, ...(await findProgram(name, context)) };
      } catch (err) {
        if (!(err instanceof ProgramError)) throw err;
        return { name, found: undefined, passedOver: [], refused: err };
      }
    }),
  );
}

/**
 * How a program that is not here could come here.
 * @returns what `ensurePrograms` would do.
 * @throws ProgramError, the same as `ensurePrograms`, when it could do nothing.
 */
export async function planProgram(
  { name, passedOver }: Inspection,
  env: NodeJS.ProcessEnv,
  limits?: HttpLimits,
): Promise<string> {
  const pin = PINS[name];
  const go = await usableGo(pin, env).catch(onlySourceError);
  if (typeof go === 'string') {
    const building = `built from source with Go ${go}`;
    return releasesBase(pin, env) === undefined ? building : `downloaded, or ${building}`;
  }
  const http = createHttp(limits);
  const release = await findRelease(name, { env, platform: currentPlatform(), http }).catch(onlySourceError);
  if (!(release instanceof SourceError)) return `downloaded from ${release.archive}`;
  throw notToBeHad(name, [...passedOver, `download: ${release.message}`, `build: ${go.message}`]);
}

function wantsFull(env: NodeJS.ProcessEnv, full?: boolean): boolean {
  return full ?? env.SIDECART_DAPRD_FULL === '1';
}
