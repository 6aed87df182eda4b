import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CHECKOUT } from '../../local/run-paths.ts';
import { bundle } from '../bundle.ts';
import type { CellRun } from '../cells/outcome.ts';
import { runInChild } from '../cells/run-child.ts';
import type { Server } from '../cells/server.ts';
import type { Job } from './plan.ts';

/** The peer stays as it was published, with what it is built on. */
const PEERS = ['@event-driven-io/*', 'pg'];

/** Bundles the program of a cell, as the services are bundled. In the checkout, where it finds the peer. */
export function bundleCells(): string {
  const folder = join(CHECKOUT, '.run', 'bench-events');
  const program = join(folder, 'cell-process.mjs');
  bundle(fileURLToPath(new URL('cell-process.ts', import.meta.url)), program, PEERS);
  // The tables of messages, which those of events come with, are in a file beside the code that makes them.
  for (const file of ['sent.sql', 'queues.sql'])
    cpSync(join(CHECKOUT, 'packages', 'messaging', 'src', file), join(folder, file));
  return program;
}

/** Runs one cell in a process and a database of its own. */
export async function runCell(server: Server, job: Job, name: string, program: string): Promise<CellRun> {
  const url = await server.createDatabase(name);
  try {
    return await runInChild(program, { ...job, url }, { server });
  } finally {
    await server.dropDatabase(name);
  }
}
