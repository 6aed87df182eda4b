import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Claims, openClaims } from './claims.ts';
import { processIdentity } from './identity.ts';
import { type Ledger, openLedger } from './ledger.ts';
import { endOrphans } from './orphans.ts';
import { removePostgresData } from './postgres-place.ts';
import { type RunPaths, runPaths } from './run-paths.ts';
import { lockRunDir } from './runner-lock.ts';
import { ShopError } from './shop-error.ts';

/** A run folder that this runner has for itself. */
export interface RunFolder {
  paths: RunPaths;
  ledger: Ledger;
  claims: Claims;
  /** Leaves it to the next runner. Nothing may run any more. */
  close(): void;
}

/**
 * Takes a run folder over: nobody else works on it, nothing of an earlier runner is left, with `fresh` not even data.
 * @throws ShopError when it cannot be made or written, or when another runner has it.
 */
export async function openRunFolder(o: {
  runDir: string;
  fresh: boolean;
  say(text: string): void;
}): Promise<RunFolder> {
  const paths = runPaths(o.runDir);
  ensureUsable(paths.root);
  const lock = lockRunDir(paths.lock);
  try {
    await endOrphans(paths.ledger, o.say);
    rmSync(paths.shop, { force: true });
    if (o.fresh) removeData(paths);
    const ledger = openLedger(paths.ledger);
    const identity = processIdentity(process.pid) ?? '';
    const claims = openClaims({ pid: process.pid, identity, runDir: paths.root });
    return {
      paths,
      ledger,
      claims,
      close() {
        ledger.close();
        claims.release();
        lock.release();
      },
    };
  } catch (err) {
    lock.release();
    throw err;
  }
}

/** Removes a run folder and the data that is kept for it elsewhere. Nothing may run on it any more. */
export function removeRunFolder(runDir: string): void {
  const { root, postgres } = runPaths(runDir);
  removePostgresData(postgres);
  rmSync(root, { recursive: true, force: true });
}

/** Tried by writing into it, because root's permissions say nothing about a folder like /proc. */
function ensureUsable(root: string): void {
  try {
    makeFolder(root);
    if (!statSync(root).isDirectory()) throw new Error('it is a file');
    rmdirSync(mkdtempSync(join(root, 'writable-')));
  } catch (cause) {
    throw new ShopError(
      `${root} cannot be the run folder: ${(cause as Error).message}`,
      'set SIDECART_RUN_DIR to a folder that can be made and written, or leave it unset for .run in the checkout',
      { cause },
    );
  }
}

/** Level by level, because Node's own `recursive` never comes to an end below /proc. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (err) {
    // Another runner may have been faster.
    if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw err;
  }
}

/** Everything but the logs, which tell what went before, and the ports, which are no data. */
function removeData(paths: RunPaths): void {
  removePostgresData(paths.postgres);
  const { nats, redis, sentry, ca, secrets, resources, config, names, external } = paths;
  for (const folder of [nats, redis, sentry, ca, secrets, resources, config, names, external])
    rmSync(folder, { recursive: true, force: true });
}
