import { processIdentity } from './identity.ts';
import { type Command, describeExit, launch } from './launch.ts';
import type { Ledger } from './ledger.ts';
import { logTail } from './logs.ts';
import { ShopError } from './shop-error.ts';

/**
 * Runs a short-lived program and waits for its end.
 * @throws ShopError with the end of its log unless it ends well.
 */
export async function runToEnd(o: {
  name: string;
  command: Command;
  logFile: string;
  ledger: Ledger;
}): Promise<void> {
  const { pid, exited } = launch(o.command, o.logFile);
  const identity = pid === undefined ? undefined : processIdentity(pid);
  if (pid !== undefined && identity !== undefined)
    o.ledger.add({ name: o.name, pid, identity, rank: 0, stopSignal: 'SIGTERM', graceMs: 5_000 });
  const exit = await exited;
  if (pid !== undefined) o.ledger.remove(pid);
  if (exit.code !== 0)
    throw new ShopError(`${o.name} ${describeExit(exit)}:\n${logTail(o.logFile)}`, `see ${o.logFile}`);
}
