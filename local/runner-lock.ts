import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ShopError } from './shop-error.ts';

/**
 * Makes sure that one runner at a time works on a run folder, also when two start at the same moment. The lock is the
 * operating system's own on an open file (taken here through SQLite), so it is gone with its process however that ends.
 * @throws ShopError naming the runner that is there already, or saying that the folder cannot be written.
 */
export function lockRunDir(lockFile: string): { release(): void } {
  // Beside the lock, not in it: the locked file cannot be read.
  const pidFile = `${lockFile}.pid`;
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(lockFile);
    db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    writeFileSync(pidFile, String(process.pid));
  } catch (cause) {
    db?.close();
    throw (cause as { errcode?: number }).errcode === SQLITE_BUSY
      ? alreadyRunning(pidFile, cause)
      : notWritable(lockFile, cause);
  }
  const lock = db;
  held.add(lock);
  return {
    release() {
      held.delete(lock);
      lock.close();
    },
  };
}

/** Reached from here until they are released: a database that nothing reaches is collected, and its lock goes with it. */
const held = new Set<DatabaseSync>();

const SQLITE_BUSY = 5;

function alreadyRunning(pidFile: string, cause: unknown): ShopError {
  const pid = existsSync(pidFile) ? readFileSync(pidFile, 'utf8') : 'unknown';
  return new ShopError(
    `a runner is already at work here (process ${pid})`,
    `use the shop that runs, or stop it first: Ctrl-C in its terminal, or kill ${pid}`,
    { cause },
  );
}

/** Most often: it was root's, and now somebody else starts. */
function notWritable(lockFile: string, cause: unknown): ShopError {
  const folder = dirname(lockFile);
  return new ShopError(
    `${folder} cannot be written: ${(cause as Error).message}`,
    `remove it as its owner, or set SIDECART_RUN_DIR to another folder`,
    { cause },
  );
}
