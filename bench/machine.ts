import { readdirSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';

/** The machine in one line, to stand above every table. */
export function machineLine(): string {
  const [cpu] = cpus();
  const gib = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} cores (${cpu?.model.trim()}), ${gib} GiB, ${type()} ${release()}, Node ${process.version}`;
}

/** Processor seconds that a process has used since its start, its waited-for children aside. Linux only, else 0. */
export function cpuSeconds(pid: number): number {
  const stat = processStat(pid);
  return stat ? stat.own : 0;
}

/**
 * Processor seconds of a process and of its children, those included that have ended: of PostgreSQL with its backends.
 * Linux only, else 0.
 */
export function familyCpuSeconds(pid: number): number {
  for (;;) {
    const parent = processStat(pid);
    if (!parent) return 0;
    const others = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const children = others.map((name) => processStat(Number(name))).filter((stat) => stat?.parent === pid);
    // A child that ended in between is in neither: once more.
    if (processStat(pid)?.ended !== parent.ended) continue;
    return parent.own + parent.ended + children.reduce((sum, stat) => sum + (stat?.own ?? 0), 0);
  }
}

function processStat(pid: number): { parent: number; own: number; ended: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const seconds = (first: number) => ((fields[first] ?? 0) + (fields[first + 1] ?? 0)) / 100;
    return { parent: fields[1] ?? 0, own: seconds(11), ended: seconds(13) };
  } catch {
    return undefined;
  }
}

/** Milliseconds of the clock that all processes of a machine share. */
export const now = () => Number(process.hrtime.bigint()) / 1e6;
