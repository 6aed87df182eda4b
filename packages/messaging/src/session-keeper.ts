import { OutboxSetupError } from './outbox-check.ts';
import type { Wake } from './wake.ts';

/** Keeps a loop going that lives with one connection at a time. */
export interface SessionKeeper {
  /** Rejects with an OutboxSetupError when waiting does not help; a database that is away is waited for. */
  start(): Promise<void>;
  /** Resolves when the loop has ended and its connection is closed. */
  stop(): Promise<void>;
}

/** Opens a session, runs the loop until it throws, opens the next one, until stopped. `wake` ends the sleeps of both. */
export function keepSession<S extends { close(): Promise<void> }>(o: {
  open: () => Promise<S>;
  loop: (session: S, stopping: AbortSignal) => Promise<void>;
  wake: Wake;
  connected: () => void;
  disconnected: (err: unknown) => void;
}): SessionKeeper {
  const stopping = new AbortController();
  let ended: Promise<void> = Promise.resolve();

  async function run(first: S | undefined): Promise<void> {
    let session = first;
    let failures = 0;
    while (!stopping.signal.aborted) {
      try {
        session ??= await o.open();
        o.connected();
        failures = 0;
        await o.loop(session, stopping.signal);
      } catch (err) {
        o.disconnected(err);
        failures += 1;
      }
      await session?.close();
      session = undefined;
      if (!stopping.signal.aborted) await sleepUnlessStopped(Math.min(2000, 100 * 2 ** failures));
    }
  }

  async function sleepUnlessStopped(ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (!stopping.signal.aborted && performance.now() < until)
      await o.wake.sleep(until - performance.now());
  }

  return {
    async start() {
      const first = await o.open().catch((err: unknown) => {
        if (err instanceof OutboxSetupError) throw err;
        o.disconnected(err);
        return undefined;
      });
      ended = run(first);
    },
    async stop() {
      stopping.abort();
      o.wake.up();
      await ended;
    },
  };
}
