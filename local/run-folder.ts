import { mkdirSync, rmSync } from 'node:fs';
import { type Claims, openClaims } from './claims.ts';
import { processIdentity } from './identity.ts';
import { type Ledger, openLedger } from './ledger.ts';
import { endOrphans } from './orphans.ts';
import { removePostgresData } from './postgres-place.ts';
import { type RunPaths, runPaths } from './run-paths.ts';
import { lockRunDir } from './runner-lock.ts';

/** A run folder that this runner has for itself. */
export interface RunFolder {
  paths: RunPaths;
  ledger: Ledger;
  claims: Claims;
  /** Leaves it to the next runner. Nothing may run any more. */
  close(): void;
}

/** Takes a run folder over: nobody else works on it, nothing of an earlier runner is left, with `fresh` not even data. */
export async function openRunFolder(o: {
  runDir: string;
  fresh: boolean;
  say(text: string): void;
}): Promise<RunFolder> {
  const paths = runPaths(o.runDir);
  mkdirSync(paths.root, { recursive: true, mode: 0o700 });
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

/** Everything but the logs, which tell what went before, and the ports, which are no data. */
function removeData(paths: RunPaths): void {
  removePostgresData(paths.postgres);
  const { nats, sentry, ca, secrets, resources, config, names } = paths;
  for (const folder of [nats, sentry, ca, secrets, resources, config, names])
    rmSync(folder, { recursive: true, force: true });
}
