import { execFileSync } from 'node:child_process';
import { chownSync, cpSync, mkdirSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, type TestContext } from 'vitest';
import { openLedger } from '../local/ledger.ts';
import { freePort } from '../local/ports.ts';
import { POSTGRES_STOP, preparePostgres, probePostgres } from '../local/postgres.ts';
import { postgresPlace, removePostgresData } from '../local/postgres-place.ts';
import { type Supervised, supervise } from '../local/supervisor.ts';
import { testFolder } from '../local/testing.ts';
import { skip } from './cluster/skip.ts';

/** A PostgreSQL of one test's own, started again whenever it ends; gone when the test is over. */
export interface OwnPostgres {
  /** Of the superuser. */
  url: string;
  server: Supervised;
  /** Takes all room that is left on the small disk, and gives it back. */
  fill(): void;
  free(): void;
}

export async function ownPostgres(
  context: TestContext,
  o: {
    settings?: Record<string, string>;
    env?: Record<string, string>;
    /** Puts a part of the data on a disk of so many megabytes. */
    small?: { part: 'base' | 'pg_wal'; megabytes: number };
  } = {},
): Promise<OwnPostgres> {
  const folder = testFolder();
  const dataDir = join(folder, 'pg');
  onTestFinished(() => removePostgresData(dataDir));
  const prepared = await preparePostgres({
    dataDir,
    port: await freePort(),
    superuserPassword: 'secret',
    ...(o.settings && { settings: o.settings }),
  });
  const { folder: place, user } = postgresPlace(dataDir);
  const small = o.small && join(place, 'data', o.small.part);
  if (o.small && small) mountSmall(context, small, o.small.megabytes, user);
  const filler = `${small}/filler`;
  const server = supervise(
    {
      name: 'postgres',
      logFile: join(folder, 'postgres.log'),
      command: () => ({ ...prepared.command, env: { ...prepared.command.env, ...o.env } }),
      probe: () => probePostgres(prepared.url),
      rank: 1,
      stopSignal: POSTGRES_STOP,
      graceMs: 10_000,
    },
    { ledger: openLedger(join(folder, 'ledger.json')), say: () => {}, backoff: () => 200 },
  );
  onTestFinished(async () => void (await server.end()));
  await server.start();
  return {
    url: prepared.url,
    server,
    fill() {
      if (!small) throw new Error('there is no small disk to fill');
      const { bavail, bsize } = statfsSync(small);
      try {
        writeFileSync(filler, Buffer.alloc(Number(bavail) * Number(bsize)));
      } catch (err) {
        if ((err as NodeJS.ErrnoException).code !== 'ENOSPC') throw err; // the database took some of it meanwhile: full it is
      }
    },
    free: () => rmSync(filler, { force: true }),
  };
}

/** Moves what is in the folder to a tmpfs in its place. */
function mountSmall(
  context: TestContext,
  folder: string,
  megabytes: number,
  user: { uid: number; gid: number } | undefined,
): void {
  const before = `${folder}.before`;
  renameSync(folder, before);
  mkdirSync(folder);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=700`, 'tmpfs', folder], {
      stdio: 'pipe',
    });
  } catch (err) {
    skip(context, `a small disk needs the right to mount a tmpfs: ${(err as { stderr?: Buffer }).stderr}`);
  }
  onTestFinished(() => void execFileSync('umount', ['--lazy', folder]));
  cpSync(before, folder, { recursive: true });
  if (user) execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, folder]);
  if (user) chownSync(folder, user.uid, user.gid);
}
