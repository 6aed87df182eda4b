import { setTimeout as sleep } from 'node:timers/promises';
import { isSameProcess } from './identity.ts';
import type { LedgerEntry } from './ledger.ts';

/** What `endProcess` needs to know of a process. */
export type Ending = Pick<LedgerEntry, 'pid' | 'identity' | 'stopSignal' | 'graceMs'>;

/**
 * Ends one process: asks first, and after its grace takes its whole group away. Says how it ended; does nothing at all
 * when the number belongs to somebody else by now.
 */
export async function endProcess(target: Ending): Promise<'gone' | 'stopped' | 'killed'> {
  if (!alive(target)) return 'gone';
  signal(target.pid, target.stopSignal);
  // A frozen process would keep the request pending for ever.
  signal(target.pid, 'SIGCONT');
  if (await vanishes(target, target.graceMs)) return 'stopped';
  killGroup(target);
  await vanishes(target, 5_000);
  return 'killed';
}

/** Ends processes rank by rank, those of one rank together; `said` hears of each when it is over. */
export async function endInOrder(
  targets: LedgerEntry[],
  said: (entry: LedgerEntry, how: 'gone' | 'stopped' | 'killed') => void,
): Promise<void> {
  const ranks = [...new Set(targets.map((target) => target.rank))].sort((a, b) => a - b);
  for (const rank of ranks) {
    const group = targets.filter((target) => target.rank === rank);
    await Promise.all(group.map(async (target) => said(target, await endProcess(target))));
  }
}

/** Takes a process and everything in its group away at once, if it still is that process. */
export function killGroup(target: Pick<Ending, 'pid' | 'identity'>): void {
  if (!alive(target)) return;
  // Started as the leader of its own group; the single process is the fallback for the moment before setsid.
  if (!signal(-target.pid, 'SIGKILL')) signal(target.pid, 'SIGKILL');
}

const alive = (target: Pick<Ending, 'pid' | 'identity'>) => isSameProcess(target.pid, target.identity);

function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

async function vanishes(target: Ending, withinMs: number): Promise<boolean> {
  const end = performance.now() + withinMs;
  while (alive(target)) {
    if (performance.now() > end) return false;
    await sleep(25);
  }
  return true;
}
