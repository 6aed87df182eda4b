import { fork } from 'node:child_process';
import { cpuSeconds } from '../machine.ts';
import type { CellRun, FromCell, Used } from './outcome.ts';
import type { Server } from './server.ts';

/** Longer than any cell takes that is still going on, ms, beside the time that it is asked to measure. */
const PATIENCE_MS = 600_000;

/** Runs one cell in a process of its own, reading the meters when it says that measuring begins and ends. */
export async function runInChild(
  program: string,
  job: object,
  o: {
    server: Server;
    /** Others whose processor time counts, by name. */
    processes?: (() => Record<string, number>) | undefined;
  },
): Promise<CellRun> {
  const child = fork(program, {
    // As the services are started.
    execArgv: ['--max-semi-space-size=8'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const read = async () => {
    const others = Object.entries(o.processes?.() ?? {}).map(([process, pid]) => [process, cpuSeconds(pid)]);
    const cpu: Used = {
      service: cpuSeconds(child.pid as number),
      PostgreSQL: o.server.cpuSeconds(),
      ...Object.fromEntries(others),
    };
    return { cpu, wal: await o.server.walBytes() };
  };
  const ms = 'ms' in job ? Number(job.ms) : 0;
  const patience = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS + ms);
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
