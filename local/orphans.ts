import { endInOrder } from './ending.ts';
import { isSameProcess } from './identity.ts';
import { readLedger } from './ledger.ts';

/**
 * Ends what an earlier runner left behind when it was killed: the processes of its ledger that still are what they
 * were, in the order in which it would have stopped them. Must hold the run folder's lock.
 */
export async function endOrphans(ledgerFile: string, say: (text: string) => void): Promise<void> {
  const orphans = readLedger(ledgerFile).filter(({ pid, identity }) => isSameProcess(pid, identity));
  if (orphans.length === 0) return;
  say(`an earlier runner was killed and left ${orphans.length} processes behind: ending them`);
  await endInOrder(orphans, ({ name, pid }, how) =>
    say(`${how === 'killed' ? 'killed ' : 'stopped'} ${name} (${pid})`),
  );
}
