import { readdirSync, readFileSync } from 'node:fs';
import { execa } from 'execa';

/** Memory of processes together with all their descendants, in bytes, in the order of `pids`. 0 for one that is gone. */
export async function memoryOf(pids: number[]): Promise<number[]> {
  return process.platform === 'linux' ? linuxMemory(pids) : psMemory(pids);
}

/**
 * The processes that came before the runner for its sake: npm, its shell, the bootstrap on the user's own Node. What
 * `npm start` costs is them too.
 */
export function ancestorsOf(pid: number): number[] {
  const found: number[] = [];
  for (let next = parentOf(pid); next > 1; next = parentOf(next)) {
    const command = commandLine(next);
    if (!/^npm |bootstrap\.mjs/.test(command)) break;
    found.push(next);
  }
  return found;
}

interface Row {
  pid: number;
  parent: number;
  bytes: number;
}

/** PSS shares what several processes have in common among them, so a sum counts nothing twice. */
function linuxMemory(pids: number[]): number[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .map((pid): Row => ({ pid, parent: parentOf(pid), bytes: 0 }));
  return sumTrees(pids, all, pss);
}

/** Elsewhere only the resident size can be had without rights; it counts shared pages once per process. */
async function psMemory(pids: number[]): Promise<number[]> {
  const { stdout } = await execa('ps', ['-axo', 'pid=,ppid=,rss=']);
  const all = stdout.split('\n').map((line): Row => {
    const [pid = 0, parent = 0, kilobytes = 0] = line.trim().split(/\s+/).map(Number);
    return { pid, parent, bytes: kilobytes * 1024 };
  });
  return sumTrees(pids, all, (row) => row.bytes);
}

function sumTrees(pids: number[], all: Row[], bytesOf: (row: Row) => number): number[] {
  const rows = new Map(all.map((row) => [row.pid, row]));
  const children = Map.groupBy(all, (row) => row.parent);
  // A process asked for by itself is not counted in its ancestor's sum as well.
  const roots = new Set(pids);
  const sum = (pid: number): number => {
    const row = rows.get(pid);
    if (!row) return 0;
    const below = (children.get(pid) ?? []).filter((child) => !roots.has(child.pid));
    return bytesOf(row) + below.reduce((total, child) => total + sum(child.pid), 0);
  };
  return pids.map(sum);
}

function pss({ pid }: Row): number {
  try {
    const kilobytes = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}

function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0;
  }
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
