import { fork } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CHECKOUT } from '../../local/run-paths.ts';
import { bundle } from '../bundle.ts';
import { cpuSeconds } from '../machine.ts';
import { type CellJob, type CellOutcome, type FromCell, SOAK_PARTS } from './cell.ts';
import type { Server } from './server.ts';

/** What a cell used while it was measured, processor seconds by who used them. */
export type Used = Record<string, number>;

export interface CellRun extends CellOutcome {
  cpu: Used;
  walBytes: number;
}

/** Longer than any cell takes that is still going on, ms, beside the time that it is asked to measure. */
const PATIENCE_MS = 600_000;

/** What is asked of a cell; where its database is it gets told when that is made. */
export type Job = WithoutUrl<CellJob>;
type WithoutUrl<J> = J extends CellJob ? Omit<J, 'url' | 'receiverDatabase'> : never;

/** Runs one cell in a process and a database of its own. */
export async function runCell(
  server: Server,
  job: Job,
  name: string,
  o: {
    /** From {@link bundleCells}. */
    program: string;
    openTransaction?: OpenTransaction | undefined;
    processes?: (() => Record<string, number>) | undefined;
  },
): Promise<CellRun> {
  const url = await server.createDatabase(name);
  const receiverDatabase = job.kind === 'broker' ? await server.createDatabase(`${name}_in`) : undefined;
  const closeTransaction = await standOpen(server, job, o.openTransaction);
  try {
    return await inChild(o.program, { ...job, url, receiverDatabase } as CellJob, async () => {
      const others = Object.entries(o.processes?.() ?? {}).map(([process, pid]) => [
        process,
        cpuSeconds(pid),
      ]);
      const cpu: Used = { PostgreSQL: server.cpuSeconds(), ...Object.fromEntries(others) };
      return { cpu, wal: await server.walBytes() };
    });
  } finally {
    await closeTransaction();
    await server.dropDatabase(name);
    if (receiverDatabase) await server.dropDatabase(`${name}_in`);
  }
}

/** The peers stay as they were published, with what they are built on. */
const PEERS = ['graphile-worker', 'pg', 'pg-boss', 'pg-transactional-outbox'];

/** Bundles the program of a cell, as the services are bundled. In the checkout, where it finds the peers. */
export function bundleCells(): string {
  const folder = join(CHECKOUT, '.run', 'bench-messaging');
  const program = join(folder, 'cell-process.mjs');
  bundle(fileURLToPath(new URL('cell-process.ts', import.meta.url)), program, PEERS);
  // The messaging tables are in a file beside the code that makes them.
  for (const file of ['sent.sql', 'queues.sql'])
    cpSync(join(CHECKOUT, 'packages', 'messaging', 'src', file), join(folder, file));
  return program;
}

/** When a transaction stands open in another database: all the time, or for the parts of a soak between its first and its last. */
export type OpenTransaction = 'throughout' | 'in the middle';

async function standOpen(server: Server, job: Job, when?: OpenTransaction): Promise<() => Promise<void>> {
  if (when === undefined) return async () => {};
  if (when === 'throughout') return server.openTransaction();
  const partMs = ('ms' in job ? job.ms : 0) / SOAK_PARTS;
  const over = new AbortController();
  const standing = (async () => {
    await sleep(partMs, undefined, { signal: over.signal });
    const close = await server.openTransaction();
    await sleep((SOAK_PARTS - 2) * partMs, undefined, { signal: over.signal }).catch(() => {});
    await close();
  })().catch((err: Error) => {
    if (!over.signal.aborted) console.error(`the transaction elsewhere: ${err.message}`);
  });
  return async () => {
    over.abort();
    await standing;
  };
}

type Meters = () => Promise<{ cpu: Used; wal: number }>;

async function inChild(program: string, job: CellJob, meters: Meters): Promise<CellRun> {
  const child = fork(program, {
    // As the services are started.
    execArgv: ['--max-semi-space-size=8'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const read = async () => {
    const { cpu, wal } = await meters();
    return { cpu: { service: cpuSeconds(child.pid as number), ...cpu } as Used, wal };
  };
  const patience = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS + ('ms' in job ? job.ms : 0));
  try {
    return await new Promise<CellRun>((done, fail) => {
      let begin: Awaited<ReturnType<typeof read>> | undefined;
      let used: { cpu: Used; walBytes: number } = { cpu: {}, walBytes: 0 };
      child.once('error', fail);
      child.once('exit', (code, signal) =>
        fail(new Error(`the cell's process ended (${signal ?? `code ${code}`})`)),
      );
      child.on('message', (message: FromCell) => {
        if ('error' in message) return fail(new Error(message.error));
        if ('outcome' in message) return done({ ...message.outcome, ...used });
        void read().then((at) => {
          if (message.mark === 'begin') begin = at;
          else if (begin) {
            const before = begin.cpu;
            const cpu = Object.entries(at.cpu).map(([who, seconds]) => [who, seconds - (before[who] ?? 0)]);
            used = { cpu: Object.fromEntries(cpu), walBytes: at.wal - begin.wal };
          }
          child.send('go');
        }, fail);
      });
      child.send(job);
    });
  } finally {
    clearTimeout(patience);
    child.kill('SIGKILL');
  }
}
