import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/** One process that a runner started and has to end. */
export interface LedgerEntry {
  name: string;
  pid: number;
  /** As `processIdentity` gives it: without it a recycled number would get a stranger killed. */
  identity: string;
  /** Ended from the lowest rank to the highest. */
  rank: number;
  /** The signal that asks it to end by itself. */
  stopSignal: NodeJS.Signals;
  /** How long it may take to end by itself, in milliseconds. */
  graceMs: number;
}

export interface Ledger {
  add(entry: LedgerEntry): void;
  remove(pid: number): void;
  entries(): LedgerEntry[];
  /** Removes the file: nothing is left to end. */
  close(): void;
}

/**
 * Keeps the list of started processes on disk, so that the next start can end them when this runner cannot.
 * Written synchronously: a runner killed right after a spawn must not forget it.
 */
export function openLedger(file: string): Ledger {
  let processes: LedgerEntry[] = [];
  const save = () => {
    writeFileSync(`${file}.new`, JSON.stringify(processes, undefined, 2), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  save();
  return {
    add(entry) {
      processes.push(entry);
      save();
    },
    remove(pid) {
      processes = processes.filter((entry) => entry.pid !== pid);
      save();
    },
    entries: () => [...processes],
    close: () => rmSync(file, { force: true }),
  };
}

/** What a runner has started and not seen the end of; nothing when the file is missing or no ledger. */
export function readLedger(file: string): LedgerEntry[] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as LedgerEntry[];
  } catch {
    return [];
  }
}
