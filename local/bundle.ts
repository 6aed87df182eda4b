import {
  accessSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { execa } from 'execa';
import { baseEnv } from './launch.ts';
import { withLock } from './plain/lock.mjs';
import { CHECKOUT } from './run-paths.ts';
import { ShopError } from './shop-error.ts';

/** Path of the bundle of one service, or of the migration program (`migrate`). */
export const bundleFile = (distDir: string, name: string) => join(distDir, `${name}.mjs`);

const PROGRAM = join(CHECKOUT, 'local', 'bundle-program.ts');
const CACHE = join(CHECKOUT, '.cache', 'bundles');

/**
 * Bundles every service, every simulator of an API outside, and the program that runs migrations, into one file each. A bundled service starts in a
 * fraction of the time and half the memory that its more than a thousand source files take.
 *
 * They are made in the checkout, once for all its shops, and only when a file that went in has changed; `distDir` gets
 * a copy of its own, so that a shop goes on with what it started with.
 */
export async function bundleServices(
  services: string[],
  distDir: string,
  simulators: string[] = [],
): Promise<void> {
  mkdirSync(distDir, { recursive: true });
  linkPackages(distDir);
  const entries = entriesOf(services, simulators);
  if (!isWritable(CHECKOUT)) return refresh(entries, distDir);
  await withLock(`${CACHE}.lock`, async () => {
    mkdirSync(CACHE, { recursive: true });
    await refresh(entries, CACHE);
    cpSync(CACHE, distDir, { recursive: true });
  });
}

function entriesOf(services: string[], simulators: string[]): string[] {
  return [
    ...services.map((name) => `${name}=services/${name}/src/main.ts`),
    ...simulators.map((name) => `${name}=${name}/main.ts`),
    'migrate=packages/kit/src/migrate.ts',
  ];
}

async function refresh(entries: string[], folder: string): Promise<void> {
  const stampFile = join(folder, 'stamp.json');
  const known = readIfThere(stampFile);
  if (known !== undefined && known === stampOf(entries, folder)?.text) return;
  rmSync(stampFile, { force: true });
  const startedAt = Date.now();
  const result = await execa(process.execPath, [PROGRAM, `--out=${folder}`, ...entries], {
    cwd: CHECKOUT,
    env: baseEnv(),
    extendEnv: false,
    reject: false,
  });
  if (result.failed)
    throw new ShopError(
      `the services cannot be bundled:\n${result.stderr || result.message}`,
      'mend the source named above',
    );
  const stamp = stampOf(entries, folder);
  // A file saved meanwhile may be in the bundle or not.
  if (stamp && stamp.newest < startedAt) writeFileSync(stampFile, stamp.text);
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Size and time of every file that went in, with what else decides the result. */
function stampOf(entries: string[], folder: string): { text: string; newest: number } | undefined {
  const inputs = readIfThere(join(folder, 'inputs.json'));
  if (inputs === undefined) return undefined;
  const files = [...(JSON.parse(inputs) as string[]), PROGRAM, 'package-lock.json'];
  const states = files.map((file) => {
    const { mtimeMs, size } = statSync(resolve(CHECKOUT, file), { throwIfNoEntry: false }) ?? {
      mtimeMs: 0,
      size: -1,
    };
    return { file, mtimeMs, size };
  });
  return {
    text: JSON.stringify([entries, states]),
    newest: Math.max(...states.map(({ mtimeMs }) => mtimeMs)),
  };
}

function readIfThere(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

/** A run folder outside the checkout still has to find the files of packages (the API page's scripts, for one). */
function linkPackages(distDir: string): void {
  const link = join(distDir, 'node_modules');
  if (relative(CHECKOUT, distDir).startsWith('..') && !existsSync(link))
    symlinkSync(join(CHECKOUT, 'node_modules'), link);
}
