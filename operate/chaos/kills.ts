import { killGroup } from '../../local/ending.ts';
import { isSameProcess, processIdentity } from '../../local/identity.ts';
import { type LedgerEntry, readLedger } from '../../local/ledger.ts';
import { runPaths } from '../../local/run-paths.ts';
import { ShopError } from '../../local/shop-error.ts';
import { readShopFile, type ShopFile } from '../../local/shop-file.ts';
import { waitUntil } from '../../local/wait.ts';

// What is killed, and when. Only processes of this machine, and of them only what the shop's own files name.

export interface Kill {
  victim: string;
  /** After the beginning. */
  atMs: number;
}

/** With several replicas the first of them. */
const VICTIMS = [/^inventory(-\d+)?-dapr$/, /^payments(-\d+)?$/, /^orders(-\d+)?$/];

const RUNS_WITHIN_MS = 60_000;

/**
 * The shop that runs from this folder. `elsewhere` is the gateway that other commands are told to use, if any.
 * @throws ShopError when none runs there, or another is meant.
 */
export function shopToDisturb(runDir: string, elsewhere: string | undefined): ShopFile {
  const shop = readShopFile(runDir);
  if (!shop)
    throw new ShopError(
      'no shop runs here',
      'start it with `npm start` and wait until it is ready; this kills processes of this machine, never pods of a cluster',
    );
  if (processIdentity(shop.pid) === undefined)
    throw new ShopError(
      'the runner of the shop here was killed, and nobody would start again what is killed now',
      'start the shop anew with `npm start`',
    );
  if (elsewhere && elsewhere.replace(/\/+$/, '') !== shop.gatewayUrl)
    throw new ShopError(
      `SIDECART_URL means the shop at ${elsewhere}, and the one that runs here is at ${shop.gatewayUrl}`,
      'unset SIDECART_URL: this kills processes of this machine, and nothing of a shop elsewhere',
    );
  return shop;
}

/** The broker, a sidecar and two services. */
export function victimsOf({ broker, processes }: Pick<ShopFile, 'broker' | 'processes'>): string[] {
  const names = processes.map(({ name }) => name);
  const victims = [broker, ...VICTIMS.map((victim) => names.find((name) => victim.test(name)))];
  return victims.map((name) => {
    if (name !== undefined && names.includes(name)) return name;
    throw new ShopError(
      'the shop here has not all that is to be killed: its broker, a sidecar of inventory, payments and orders',
      'start it with `npm start`',
    );
  });
}

/** Each once, in an order and at moments that the chance decides: one in each equal part of the time, half a part or more apart. */
export function planKills(victims: readonly string[], durationMs: number, random: () => number): Kill[] {
  const left = [...victims];
  const part = durationMs / victims.length;
  return victims.map((_, index) => {
    const [victim = ''] = left.splice(Math.floor(random() * left.length), 1);
    return { victim, atMs: Math.round(part * (index + 0.2 + random() / 2)) };
  });
}

/** Kills what the shop runs under this name, as soon as it is ready; gives the id of the process. */
export async function kill(runDir: string, victim: string, signal: AbortSignal): Promise<number> {
  const target = await whenRunning(runDir, victim, () => true, signal);
  killGroup(target);
  return target.pid;
}

/** Resolves when another process runs in place of the one that was killed, and is ready. */
export async function backAgain(
  runDir: string,
  victim: string,
  killedPid: number,
  signal: AbortSignal,
): Promise<void> {
  await whenRunning(runDir, victim, ({ pid }) => pid !== killedPid, signal);
}

async function whenRunning(
  runDir: string,
  name: string,
  isIt: (entry: LedgerEntry) => boolean,
  signal: AbortSignal,
): Promise<LedgerEntry> {
  let found: LedgerEntry | undefined;
  const look = async () => {
    found = running(runDir, name);
    if (!found || !isIt(found)) throw new Error('it is not ready');
  };
  try {
    await waitUntil(`${name} to run`, look, { timeoutMs: RUNS_WITHIN_MS, everyMs: 50, signal });
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new ShopError((cause as Error).message, 'see what `npm start` says of it, and its log', { cause });
  }
  return found as LedgerEntry;
}

/**
 * The process that shop.json names, if it is the one that the shop has started: the number alone could be a stranger's by now, so
 * the ledger is asked, which has the identity with it.
 */
export function running(runDir: string, name: string): LedgerEntry | undefined {
  const named = readShopFile(runDir)?.processes.find((process) => process.name === name);
  if (named?.state !== 'ready') return undefined;
  return readLedger(runPaths(runDir).ledger).find(
    (entry) => entry.name === name && entry.pid === named.pid && isSameProcess(entry.pid, entry.identity),
  );
}
