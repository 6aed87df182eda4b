import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { localBroker } from './brokers.ts';
import { missingPackages, packagedNode } from './plain/packages.mjs';
import { installedBinaries } from './postgres-binaries.ts';
import { usableGo } from './programs/build.ts';
import { openCache } from './programs/cache.ts';
import { onlySourceError, ProgramError } from './programs/errors.ts';
import { ensureInstalled } from './programs/installed.ts';
import { INSTALLED, type InstalledName, PINS, type ServerName } from './programs/pins.ts';
import { currentPlatform } from './programs/platform.ts';
import { type Inspection, inspectPrograms, planProgram } from './programs/programs.ts';
import { ShopError } from './shop-error.ts';
import { unprivilegedUser } from './unprivileged-user.ts';

/** One thing that the shop needs of this machine, and how it stands. */
export interface Finding {
  what: string;
  /** `later`: not here, but the first start gets it. `wrong`: prevents a start. */
  state: 'ok' | 'later' | 'wrong';
  /** What is there, or what is the matter with it. */
  is: string;
  cure?: string;
}

export interface Machine {
  env: NodeJS.ProcessEnv;
  /** The folder of package.json. */
  root: string;
  nodeVersion: string;
  isRoot: boolean;
  /** The program of the broker that is to run. */
  server: ServerName;
}

/** This machine, as this process sees it, for a shop on that broker. */
export function thisMachine(broker: string): Machine {
  return {
    server: localBroker(broker).program,
    env: process.env,
    root: resolve(fileURLToPath(import.meta.url), '../..'),
    nodeVersion: process.versions.node,
    isRoot: process.getuid?.() === 0,
  };
}

/** Something on this machine prevents a start. The message has every such finding with its cure. */
export class MachineError extends ShopError {
  readonly findings: readonly Finding[];

  constructor(findings: readonly Finding[]) {
    super(
      findings.map(describe).join('\n'),
      '`npm run doctor` shows everything that is needed and how it stands',
    );
    this.name = 'MachineError';
    this.findings = findings;
  }
}

/** `daprd: what is the matter`, with the cure on a line of its own. */
export function describe(finding: Finding): string {
  const cure = finding.cure === undefined ? '' : `\n  Cure: ${finding.cure}`;
  return `${finding.what}: ${finding.is}${cure}`;
}

/** @throws MachineError when something prevents a start. */
export async function requireMachine(machine: Machine): Promise<void> {
  const wrong = (await checkMachine(machine)).filter((finding) => finding.state === 'wrong');
  if (wrong.length > 0) throw new MachineError(wrong);
}

/** Looks at everything that a start needs. Downloads and builds nothing. */
export async function checkMachine(machine: Machine): Promise<Finding[]> {
  const platform = attempt('platform', () => {
    const { os, arch } = currentPlatform();
    return `${os} ${arch}`;
  });
  if (platform.state === 'wrong') return [platform];
  const { server } = machine;
  const installed = server === 'redisServer' ? [await installedProgram(server, machine.env)] : [];
  const programs = await inspectPrograms(machine.env, [
    'daprd',
    'sentry',
    ...(server === 'redisServer' ? [] : [server]),
  ]);
  const incomplete = programs.some((program) => program.found === undefined);
  return [
    platform,
    node(machine),
    packages(machine),
    await postgres(),
    ...(machine.isRoot ? [await postgresUser()] : []),
    ...(await Promise.all(programs.map((inspection) => program(inspection, machine.env)))),
    ...installed,
    ...(incomplete ? [await go(machine.env), await disk(machine.env)] : []),
  ];
}

function node({ nodeVersion, root }: Machine): Finding {
  const packaged = packagedNode(root)?.version;
  if (nodeVersion.startsWith('24.')) {
    return {
      what: 'Node',
      state: 'ok',
      is: nodeVersion === packaged ? `${nodeVersion}, from the npm packages` : nodeVersion,
    };
  }
  const is = `this runs on Node ${nodeVersion}; Sidecart runs on Node 24, which is one of its npm packages`;
  return {
    what: 'Node',
    state: 'wrong',
    is,
    cure: 'use the npm scripts, such as `npm start`: they run on the right one',
  };
}

function packages({ root }: Machine): Finding {
  const reason = missingPackages(root);
  if (reason === undefined) return { what: 'npm packages', state: 'ok', is: 'as package-lock.json says' };
  return { what: 'npm packages', state: 'wrong', is: reason, cure: 'npm ci' };
}

async function postgres(): Promise<Finding> {
  const what = 'PostgreSQL';
  const binaries = attempt(what, () => installedBinaries().postgres);
  if (binaries.state === 'wrong') return binaries;
  const result = await execa(binaries.is, ['--version'], { reject: false, timeout: 10_000 });
  const version = /^postgres \(PostgreSQL\) (\S+)/.exec(result.stdout ?? '')?.[1];
  if (version?.startsWith('18.')) return { what, state: 'ok', is: `${version}, from the npm packages` };
  return {
    what,
    state: 'wrong',
    is:
      version === undefined
        ? `${binaries.is} does not run: ${result.stderr || result.shortMessage}`
        : `version ${version}`,
    cure: '`npm ci`; on a Linux with musl, such as Alpine, use one with glibc: the package is built for that',
  };
}

// Not only whether there is such a user: in a container, root may have lost the right to become somebody else.
async function postgresUser(): Promise<Finding> {
  const what = 'user for PostgreSQL';
  const named = attempt(what, () => unprivilegedUser().name);
  if (named.state === 'wrong') return named;
  const { uid, gid } = unprivilegedUser();
  const result = await execa('/bin/sh', ['-c', 'exit 0'], { uid, gid, cwd: '/', reject: false });
  if (result.exitCode === 0) return { what, state: 'ok', is: `${named.is}, as this is root` };
  const is = `this root may not start a program as ${named.is}: ${result.originalMessage ?? result.shortMessage}`;
  return { what, state: 'wrong', is, cure: 'start as an ordinary user' };
}

async function program(inspection: Inspection, env: NodeJS.ProcessEnv): Promise<Finding> {
  const { name, found, refused, passedOver } = inspection;
  const what = PINS[name].binary;
  if (found !== undefined) return { what, state: 'ok', is: `${found.version}, ${found.path}` };
  if (refused !== undefined) return { what, state: 'wrong', is: refused.message, cure: refused.cure };
  try {
    const plan = await planProgram(inspection, env);
    const seen = passedOver.length === 0 ? '' : ` (${passedOver.join('; ')})`;
    return {
      what,
      state: 'later',
      is: `${PINS[name].accepts} is not here${seen}; the first start has it ${plan}`,
    };
  } catch (err) {
    if (!(err instanceof ProgramError)) throw err;
    return { what, state: 'wrong', is: err.message, cure: err.cure };
  }
}

async function installedProgram(name: InstalledName, env: NodeJS.ProcessEnv): Promise<Finding> {
  const what = INSTALLED[name].binary;
  try {
    const { version, path } = await ensureInstalled(name, env);
    return { what, state: 'ok', is: `${version}, ${path}` };
  } catch (err) {
    if (!(err instanceof ProgramError)) throw err;
    return { what, state: 'wrong', is: err.message, cure: err.cure };
  }
}

async function go(env: NodeJS.ProcessEnv): Promise<Finding> {
  const version = await usableGo(PINS.daprd, env).catch(onlySourceError);
  if (typeof version === 'string') return { what: 'Go', state: 'ok', is: version };
  return {
    what: 'Go',
    state: 'later',
    is: `${version.message}; needed only where a program can neither be found nor downloaded`,
    cure: `install Go ${PINS.daprd.go} or newer (https://go.dev/dl)`,
  };
}

/** A little more than a first build of everything was seen to take, modules and compiler's cache included. */
const BUILD_GIGABYTES = 4;

async function disk(env: NodeJS.ProcessEnv): Promise<Finding> {
  const { folder } = openCache(env);
  const { bavail, bsize } = await statfs(nearestExisting(folder));
  const free = (bavail * bsize) / 1e9;
  if (free > BUILD_GIGABYTES) return { what: 'disk', state: 'ok', is: `${free.toFixed(0)} GB free` };
  return {
    what: 'disk',
    state: 'later',
    is: `${free.toFixed(1)} GB free for ${folder}; a build from source needs about ${BUILD_GIGABYTES} GB`,
    cure: 'make room, or set SIDECART_CACHE to a folder on another disk',
  };
}

function nearestExisting(folder: string): string {
  return existsSync(folder) ? folder : nearestExisting(dirname(folder));
}

function attempt(what: string, look: () => string): Finding {
  try {
    return { what, state: 'ok', is: look() };
  } catch (err) {
    if (!(err instanceof ShopError)) throw err;
    return { what, state: 'wrong', is: err.message, cure: err.cure };
  }
}
