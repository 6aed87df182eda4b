import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CHECKOUT } from '../../local/run-paths.ts';
import { bundle } from '../bundle.ts';
import type { CellRun } from '../cells/outcome.ts';
import { runInChild } from '../cells/run-child.ts';
import type { Server } from '../cells/server.ts';
import { type CellJob, SOAK_PARTS } from './cell.ts';

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
    const { processes } = o;
    return await runInChild(o.program, { ...job, url, receiverDatabase }, { server, processes });
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
