import { copyFile, mkdir, readdir, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { execa } from 'execa';
import semver from 'semver';
import { SourceError } from './errors.ts';
import { DAPR_COMPONENTS, type Pin } from './pins.ts';
import type { Platform } from './platform.ts';
import { elapsed, type Progress } from './progress.ts';

export interface BuildOptions {
  pin: Pin;
  platform: Platform;
  /** Absolute path of the executable to write. */
  output: string;
  /** Empty folder for a copy of the module, needed when components are left out. */
  scratch: string;
  /** Leave out of daprd the components that nobody here uses. */
  reduced: boolean;
  env: NodeJS.ProcessEnv;
  progress: Progress;
  signal: AbortSignal | undefined;
}

/**
 * The version of Go on this machine.
 * @throws SourceError when there is none, or one that cannot build the pin, also not with a newer Go that it fetches.
 */
export async function usableGo(pin: Pin, env: NodeJS.ProcessEnv): Promise<string> {
  const result = await execa('go', ['env', 'GOVERSION', 'GOTOOLCHAIN'], {
    env,
    extendEnv: false,
    cwd: '/', // outside any module, whose go.mod could make `go` fetch another version of itself
    reject: false,
    timeout: 10_000,
  });
  if (result.exitCode !== 0) throw new SourceError('Go is not installed');
  const [name = '', toolchain = ''] = result.stdout.split('\n');
  const version = semver.coerce(name)?.version ?? '0.0.0'; // a Go under development has no number
  // From 1.21 on Go fetches the version that a module wants, unless told not to.
  const fetches = /^auto$|\+auto$/.test(toolchain) && semver.gte(version, '1.21.0');
  if (fetches || semver.gte(version, pin.go)) return version;
  throw new SourceError(`Go ${version} is too old, ${pin.go} is needed`);
}

/**
 * Builds a program from its Go module, as its authors' own go.mod and go.sum say.
 * @throws SourceError when Go is missing or too old, or the build fails.
 */
export async function buildProgram(o: BuildOptions): Promise<void> {
  const go = await usableGo(o.pin, o.env);
  const env = {
    ...o.env,
    CGO_ENABLED: '0',
    GOOS: o.platform.os,
    GOARCH: o.platform.arch,
    GOWORK: 'off', // a workspace file in a folder above must not join in
    // The module may suggest a newer Go than it needs: do not fetch that.
    ...(semver.gte(go, o.pin.go) ? { GOTOOLCHAIN: 'local' } : {}),
  };
  const module = await downloadModule({ ...o, env });
  if (o.reduced) await copyReduced(module, o.scratch);
  await compile({ ...o, env, folder: o.reduced ? o.scratch : module });
}

async function downloadModule({ pin, env, progress, signal }: BuildOptions): Promise<string> {
  progress(`${pin.binary} ${pin.builds}: getting its source, the Go module ${pin.module}`);
  const result = await execa('go', ['mod', 'download', '-json', `${pin.module}@v${pin.builds}`], {
    env,
    extendEnv: false,
    cwd: '/',
    reject: false,
    ...cancelledBy(signal),
  });
  const answer: { Dir?: string; Error?: string } = result.stdout === '' ? {} : JSON.parse(result.stdout);
  if (answer.Dir === undefined) {
    const reason = answer.Error ?? (result.stderr || result.shortMessage);
    throw new SourceError(`the Go module ${pin.module} v${pin.builds} could not be had: ${reason}`);
  }
  return answer.Dir;
}

// SIGINT lets Go end the compilers that it started; any other signal leaves them behind.
function cancelledBy(signal: AbortSignal | undefined) {
  return signal === undefined ? {} : { cancelSignal: signal, killSignal: 'SIGINT' as const };
}

/** Folders of the module that no build needs. */
const UNUSED_FOLDERS = new Set(['docs', 'img', 'tests']);

// Go refuses overlays and edits below its module cache, so a build without some files needs a copy.
async function copyReduced(module: string, target: string): Promise<void> {
  const components = join('cmd', 'daprd', 'components');
  const kept = new Set(DAPR_COMPONENTS.map((name) => `${name}.go`));
  for (const name of kept) {
    await stat(join(module, components, name)).catch((cause) => {
      throw new SourceError(`${module} has no component ${name}`, { cause });
    });
  }
  for (const entry of await readdir(module, { recursive: true, withFileTypes: true })) {
    const path = relative(module, join(entry.parentPath, entry.name));
    if (!entry.isFile() || UNUSED_FOLDERS.has(path.split('/', 1)[0] ?? '')) continue;
    if (dirname(path) === components && !kept.has(entry.name)) continue;
    // Not fs.cp: it copies the module cache's read-only folders as such, and then nobody can delete them.
    await mkdir(join(target, dirname(path)), { recursive: true });
    await copyFile(join(module, path), join(target, path));
  }
}

async function compile(o: BuildOptions & { folder: string }): Promise<void> {
  const { pin } = o;
  const ldflags = ['-s', '-w'];
  if (pin.versionVariable !== undefined) ldflags.push('-X', `${pin.versionVariable}=${pin.builds}`);
  const args = [
    'build',
    '-v',
    '-mod=readonly',
    '-buildvcs=false',
    '-trimpath',
    '-ldflags',
    ldflags.join(' '),
  ];
  if (pin.tags !== undefined) args.push('-tags', pin.tags);
  args.push('-o', o.output, pin.package);

  const what = `${pin.binary} ${pin.builds}: building from source`;
  o.progress(`${what}; the first time takes minutes`);
  // Go has compiled some of them before, perhaps, so the number may end below it.
  const all = o.reduced && pin.packages !== undefined ? ` of up to ${pin.packages}` : '';
  const startedAt = Date.now();
  const count = { modules: 0, packages: 0 };
  const tail: string[] = [];
  const ticker = setInterval(() => {
    const modules = count.modules > 0 ? `${count.modules} modules fetched, ` : '';
    o.progress(`${what}: ${modules}${count.packages}${all} packages compiled, ${elapsed(startedAt)}`, {
      passing: true,
    });
  }, 1000);
  try {
    const go = execa('go', args, {
      cwd: o.folder,
      env: o.env,
      extendEnv: false,
      reject: false,
      stdin: 'ignore',
      buffer: false,
      ...cancelledBy(o.signal),
    });
    // With -v Go names each module that it fetches and each package that it compiles.
    for await (const line of go.iterable({ from: 'stderr' })) {
      if (line.startsWith('go: downloading ')) count.modules++;
      else if (/^[\w.~-]+(\/[\w.~-]+)*$/.test(line)) count.packages++;
      tail.push(line);
      if (tail.length > 15) tail.shift();
    }
    const result = await go;
    if (result.exitCode !== 0) {
      throw new SourceError(`go build failed (${result.shortMessage}):\n${tail.join('\n')}`);
    }
  } finally {
    clearInterval(ticker);
  }
  o.progress(`${pin.binary} ${pin.builds}: built in ${elapsed(startedAt)}`);
}
