import { DatabaseSync } from 'node:sqlite';
import { readLedger } from './ledger.ts';
import { ShopError } from './shop-error.ts';

/**
 * Makes sure that one runner at a time works on a run folder, also when two start at the same moment. The lock is the
 * operating system's own on an open file (taken here through SQLite), so it is gone with its process however that ends.
 * @throws ShopError naming the runner that is there already.
 */
export function lockRunDir(o: { lockFile: string; ledgerFile: string }): { release(): void } {
  const db = new DatabaseSync(o.lockFile);
  try {
    db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    db.close();
    const pid = readLedger(o.ledgerFile)?.runner.pid;
    throw new ShopError(
      `a runner is already at work here${pid === undefined ? '' : ` (process ${pid})`}`,
      `use the shop that runs, or stop it first: Ctrl-C in its terminal${pid === undefined ? '' : `, or kill ${pid}`}`,
      { cause },
    );
  }
  return { release: () => db.close() };
}
