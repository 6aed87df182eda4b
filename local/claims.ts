import { lstatSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isSameProcess } from './identity.ts';
import { ShopError } from './shop-error.ts';

/**
 * Ports that belong to the running shops of this user, on this machine. A port is claimed before anything listens on
 * it and stays claimed while its process is restarted, so two shops that start at the same moment, or one that starts
 * while another's process is down, do not take each other's. Claims of a runner that died count for nothing.
 */
export interface Claims {
  /** Ports of other living shops. */
  others(): Set<number>;
  /** Claims all of these for this shop, or none: false when another one was faster with any of them. */
  claim(ports: number[]): boolean;
  /** Gives this shop's ports back. */
  release(): void;
}

/** @param owner this runner; `runDir` tells apart several shops of one process. */
export function openClaims(
  owner: { pid: number; identity: string; runDir: string },
  folder = join(tmpdir(), `sidecart-${process.getuid?.() ?? 'user'}`),
): Claims {
  const file = join(ownFolder(folder), 'ports.db');

  const inTransaction = <T>(work: (db: DatabaseSync) => T): T => {
    const db = new DatabaseSync(file, { timeout: 5_000 });
    try {
      db.exec(
        'CREATE TABLE IF NOT EXISTS claim (port INTEGER PRIMARY KEY, pid INTEGER, identity TEXT, run_dir TEXT)',
      );
      db.exec('BEGIN IMMEDIATE');
      const result = work(db);
      db.exec('COMMIT');
      return result;
    } finally {
      db.close();
    }
  };

  const others = (db: DatabaseSync) => {
    const rows = db.prepare('SELECT port, pid, identity, run_dir FROM claim').all() as unknown as Row[];
    const living = new Map<string, boolean>();
    const lives = (row: Row) => {
      const key = `${row.pid} ${row.identity}`;
      if (!living.has(key)) living.set(key, isSameProcess(row.pid, row.identity));
      return living.get(key) === true;
    };
    return new Set(rows.filter((row) => row.run_dir !== owner.runDir && lives(row)).map((row) => row.port));
  };

  return {
    others: () => inTransaction(others),
    claim: (ports) =>
      inTransaction((db) => {
        const taken = others(db);
        if (ports.some((port) => taken.has(port))) return false;
        db.prepare('DELETE FROM claim WHERE run_dir = ?').run(owner.runDir);
        const insert = db.prepare('INSERT OR REPLACE INTO claim VALUES (?, ?, ?, ?)');
        for (const port of ports) insert.run(port, owner.pid, owner.identity, owner.runDir);
        return true;
      }),
    release: () =>
      inTransaction((db) => {
        db.prepare('DELETE FROM claim WHERE run_dir = ?').run(owner.runDir);
      }),
  };
}

interface Row {
  port: number;
  pid: number;
  identity: string;
  run_dir: string;
}

/** The temporary folder is everybody's: one that somebody else put there under this name is not used. */
function ownFolder(folder: string): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(folder);
  if (!found.isDirectory() || (process.getuid && found.uid !== process.getuid()))
    throw new ShopError(
      `${folder} belongs to another user`,
      'remove it, or set TMPDIR to a folder of your own',
    );
  return folder;
}
