import { readFileSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { ShopError } from './shop-error.ts';

/**
 * Makes sure that one runner at a time works on a run folder, also when two start at the same moment. The lock is the
 * operating system's own on an open file (taken here through SQLite), so it is gone with its process however that ends.
 * @throws ShopError naming the runner that is there already.
 */
export function lockRunDir(lockFile: string): { release(): void } {
  // Beside the lock, not in it: the locked file cannot be read.
  const pidFile = `${lockFile}.pid`;
  const db = new DatabaseSync(lockFile);
  try {
    db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    db.close();
    const pid = readPid(pidFile);
    throw new ShopError(
      `a runner is already at work here (process ${pid})`,
      `use the shop that runs, or stop it first: Ctrl-C in its terminal, or kill ${pid}`,
      { cause },
    );
  }
  writeFileSync(pidFile, String(process.pid));
  return { release: () => db.close() };
}

function readPid(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return 'unknown';
  }
}
