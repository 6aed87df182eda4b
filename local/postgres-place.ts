import { createHash, randomUUID } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { copiedBinaries, installedBinaries, type PostgresBinaries } from './postgres-binaries.ts';
import { ShopError } from './shop-error.ts';
import { type UnprivilegedUser, unprivilegedUser } from './unprivileged-user.ts';

/** Where a PostgreSQL lives: its programs, its folder, and who has to run it. */
export interface PostgresPlace {
  /** Exists, and belongs to whoever runs PostgreSQL. */
  folder: string;
  binaries: PostgresBinaries;
  /** Set when the runner is root, which PostgreSQL refuses to run as. */
  user?: UnprivilegedUser;
}

/**
 * Finds or makes the place for the data known as `dataDir`. For an ordinary user that is `dataDir` itself. For root it
 * is a folder under `/var/lib/sidecart` (or `/var/tmp/sidecart`), because the unprivileged user that must own the files
 * cannot reach a checkout below root's home; `dataDir` then holds only the mark that ties the two together.
 */
export function postgresPlace(dataDir: string): PostgresPlace {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  if (process.getuid?.() !== 0) return { folder: dataDir, binaries: installedBinaries() };
  const user = unprivilegedUser();
  const home = sharedHome();
  removeAbandoned(home);
  const mark = ensureMark(dataDir);
  const folder = placeOf(home, dataDir);
  if (markOf(folder)?.id !== mark) rmSync(folder, { recursive: true, force: true });
  if (!existsSync(folder)) {
    mkdirSync(folder, { mode: 0o700 });
    const origin: Origin = { id: mark, dataDir: resolve(dataDir), host: hostname() };
    writeFileSync(join(folder, 'origin.json'), JSON.stringify(origin), { mode: 0o600 });
  }
  chownSync(folder, user.uid, user.gid);
  return { folder, binaries: copiedBinaries(home), user };
}

/** Removes the data known as `dataDir`, wherever it is. PostgreSQL must not be running on it. */
export function removePostgresData(dataDir: string): void {
  if (process.getuid?.() === 0)
    for (const home of HOMES) rmSync(placeOf(home, dataDir), { recursive: true, force: true });
  rmSync(dataDir, { recursive: true, force: true });
}

interface Origin {
  id: string;
  dataDir: string;
  host: string;
}

const HOMES = ['/var/lib/sidecart', '/var/tmp/sidecart'];

function sharedHome(): string {
  for (const home of HOMES) {
    try {
      mkdirSync(home, { recursive: true, mode: 0o755 });
      return home;
    } catch {
      // A read-only system folder: the next one may be writable.
    }
  }
  throw new ShopError(
    `as root, PostgreSQL needs a folder that an unprivileged user can reach, and none of ${HOMES.join(', ')} can be made`,
    'start as an ordinary user, or make one of these folders writable',
  );
}

const placeOf = (home: string, dataDir: string) =>
  join(home, `data-${createHash('sha256').update(resolve(dataDir)).digest('hex').slice(0, 16)}`);

/** The mark dies with the checkout's own folder, so data of a checkout that was deleted is never taken up by the next one. */
function ensureMark(dataDir: string): string {
  const file = join(dataDir, 'mark');
  if (!existsSync(file)) writeFileSync(file, randomUUID(), { mode: 0o600 });
  return readFileSync(file, 'utf8');
}

function markOf(folder: string): Origin | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'origin.json'), 'utf8')) as Origin;
  } catch {
    return undefined;
  }
}

/** Data whose checkout or test folder on this machine is gone would fill the disk bit by bit. */
function removeAbandoned(home: string): void {
  for (const name of readdirSync(home).filter((entry) => entry.startsWith('data-'))) {
    const folder = join(home, name);
    const origin = markOf(folder);
    if (!origin || origin.host !== hostname() || inUse(folder)) continue;
    if (readMark(origin.dataDir) !== origin.id) rmSync(folder, { recursive: true, force: true });
  }
}

function readMark(dataDir: string): string | undefined {
  try {
    return readFileSync(join(dataDir, 'mark'), 'utf8');
  } catch {
    return undefined;
  }
}

function inUse(folder: string): boolean {
  try {
    const pid = Number(readFileSync(join(folder, 'data', 'postmaster.pid'), 'utf8').split('\n')[0]);
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
