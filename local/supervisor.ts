import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, STEADY_MS } from './backoff.ts';
import { endProcess, killGroup } from './ending.ts';
import { processIdentity } from './identity.ts';
import { type Command, describeExit, type Exit, type Launched, launch } from './launch.ts';
import type { Ledger } from './ledger.ts';
import { lastWords, logTail } from './logs.ts';
import { ShopError } from './shop-error.ts';
import { waitUntil } from './wait.ts';

/** A program that has to run for as long as the shop does. */
export interface ProcessSpec {
  name: string;
  logFile: string;
  /** Asked anew before each start, so what must be fresh (a token) is made here. */
  command(): Command | Promise<Command>;
  /** Throws until the process does its work. */
  probe(): Promise<void>;
  /** What has to happen whenever the process has just become ready, before anybody counts on it. */
  afterStart?(): Promise<void>;
  /** See LedgerEntry. */
  rank: number;
  stopSignal: NodeJS.Signals;
  graceMs: number;
}

export type ProcessState = 'stopped' | 'starting' | 'ready' | 'waiting' | 'held';

/** A supervised process as tests, benchmarks and tools see it. */
export interface ManagedProcess {
  readonly name: string;
  /** 0 while there is none. */
  readonly pid: number;
  readonly state: ProcessState;
  /** How often it was started again after its first start. */
  readonly restarts: number;
  readonly logFile: string;
  /** Sends a signal to the process; it is restarted when that ends it. */
  kill(signal: NodeJS.Signals): void;
  /** Kills it (SIGKILL) and keeps it down until `release`. */
  hold(): Promise<void>;
  /** Starts it again after `hold`; resolves when it is ready. */
  release(): Promise<void>;
}

export interface Supervised extends ManagedProcess {
  readonly rank: number;
  /** Resolves when it is ready; rejects when it keeps dying before it ever was. */
  start(): Promise<void>;
  /** Ends it for good. */
  end(): Promise<'gone' | 'stopped' | 'killed'>;
  /** Ends it for good, at once. */
  forceEnd(): void;
}

export interface SupervisorDeps {
  ledger: Ledger;
  /** Hears in words what happens to the process. */
  say(text: string): void;
  /** Hears each time that it has become ready. */
  onReady?(): void;
  backoff?(failures: number): number;
  /** How long one start may take, in milliseconds. */
  readyTimeoutMs?: number;
}

const ATTEMPTS_BEFORE_FIRST_READY = 3;

/** Keeps one process running: starts it, waits until it is ready, and starts it again with back-off when it ends. */
export function supervise(spec: ProcessSpec, deps: SupervisorDeps): Supervised {
  const backoff = deps.backoff ?? backoffMs;
  const readyTimeoutMs = deps.readyTimeoutMs ?? 60_000;
  let state: ProcessState = 'stopped';
  let current: { pid: number; identity: string } | undefined;
  let restarts = 0;
  let starts = 0;
  let everReady = false;
  /** Aborted when the process shall not run any more: ends every wait of the loop below. */
  let wanted = new AbortController();
  let loop: Promise<void> = Promise.resolve();
  let waiters: { resolve(): void; reject(err: unknown): void }[] = [];

  const settle = (err?: unknown) => {
    const settled = waiters;
    waiters = [];
    for (const waiter of settled) err === undefined ? waiter.resolve() : waiter.reject(err);
  };

  async function run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const startedAt = performance.now();
      const since = new Date();
      const exit = await runOnce(signal);
      if (signal.aborted) break;
      failures = performance.now() - startedAt > STEADY_MS ? 1 : failures + 1;
      const why = lastWords(spec.logFile, since);
      if (!everReady && failures >= ATTEMPTS_BEFORE_FIRST_READY) {
        settle(why ? startRefusal(spec, why) : startFailure(spec, describeExit(exit)));
        break;
      }
      const delayMs = backoff(failures);
      const words = why && `${why.reason}${why.cure === undefined ? '' : `. Cure: ${why.cure}`}`;
      deps.say(
        `${spec.name} ${describeExit(exit)}, restart in ${delayMs / 1000} s; its log: ${spec.logFile}${words ? `\n  ${words}` : ''}`,
      );
      state = 'waiting';
      await sleep(delayMs, undefined, { signal }).catch(() => {});
    }
  }

  async function runOnce(signal: AbortSignal): Promise<Exit> {
    state = 'starting';
    let child: Launched;
    try {
      const command = await spec.command();
      if (signal.aborted) return {};
      // Its log too may be out of reach: the run folder was removed, or the disk is full.
      child = launch(command, spec.logFile);
    } catch (err) {
      return { problem: err instanceof Error ? err.message : String(err) };
    }
    const identity = child.pid === undefined ? undefined : processIdentity(child.pid);
    if (child.pid === undefined || identity === undefined) return child.exited;
    const { pid } = child;
    current = { pid, identity };
    deps.ledger.add({
      ...current,
      name: spec.name,
      rank: spec.rank,
      stopSignal: spec.stopSignal,
      graceMs: spec.graceMs,
    });
    if (starts > 0) restarts += 1;
    starts += 1;
    const over = new AbortController();
    void becomeReady(over.signal);
    const exit = await child.exited;
    over.abort();
    current = undefined;
    deps.ledger.remove(pid);
    return exit;
  }

  /** Never rejects: whoever waits hears of it through `settle`. */
  async function becomeReady(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      try {
        await waitUntil(spec.name, () => spec.probe(), { timeoutMs: readyTimeoutMs, signal: over });
        await spec.afterStart?.();
        break;
      } catch (err) {
        if (over.aborted) return;
        if (!everReady)
          return settle(err instanceof ShopError ? err : startFailure(spec, (err as Error).message));
        deps.say(`${spec.name} still is not ready: ${(err as Error).message}; its log: ${spec.logFile}`);
      }
    }
    if (over.aborted) return;
    if (everReady) deps.say(`${spec.name} is ready again`);
    everReady = true;
    state = 'ready';
    settle();
    deps.onReady?.();
  }

  function begin(): Promise<void> {
    wanted = new AbortController();
    const ready = new Promise<void>((resolve, reject) => waiters.push({ resolve, reject }));
    loop = run(wanted.signal);
    return ready;
  }

  async function leave(how: (target: { pid: number; identity: string }) => Promise<unknown>): Promise<void> {
    wanted.abort();
    settle(new Error(`${spec.name} was stopped before it was ready`));
    if (current) await how(current);
    await loop;
  }

  const end = async () => {
    let how: 'gone' | 'stopped' | 'killed' = 'gone';
    await leave(async (target) => {
      how = await endProcess({ ...target, stopSignal: spec.stopSignal, graceMs: spec.graceMs });
    });
    state = 'stopped';
    return how;
  };

  return {
    name: spec.name,
    rank: spec.rank,
    logFile: spec.logFile,
    get pid() {
      return current?.pid ?? 0;
    },
    get state() {
      return state;
    },
    get restarts() {
      return restarts;
    },
    start: begin,
    kill(signal) {
      if (current) process.kill(current.pid, signal);
    },
    async hold() {
      await leave(async (target) => killGroup(target));
      state = 'held';
    },
    release() {
      return state === 'held' ? begin() : Promise.resolve();
    },
    end,
    forceEnd() {
      wanted.abort();
      if (current) killGroup(current);
    },
  };
}

/** It knows why, and says it: its log has no more than that, three times. */
function startRefusal({ name, logFile }: ProcessSpec, why: { reason: string; cure?: string }): ShopError {
  return new ShopError(`${name} does not start: ${why.reason}`, why.cure ?? `see ${logFile}`);
}

function startFailure(spec: ProcessSpec, what: string): ShopError {
  const tail = logTail(spec.logFile);
  return new ShopError(
    `${spec.name} does not start: ${what}${tail && `\nThe end of its log:\n${tail.replaceAll(/^/gm, '  ')}`}`,
    `see ${spec.logFile}; npm run doctor names what is missing`,
  );
}
