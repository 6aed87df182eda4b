import { createWake } from './wake.ts';

export interface Repetition {
  /** Resolves when the work in progress, if any, has ended; there is no next. */
  stop(): Promise<void>;
}

/** Does `work` now and again `ms` after each end of it, or `afterErrorMs`. What it throws goes to `onError` and ends nothing. */
export function repeat(
  ms: number,
  work: (signal: AbortSignal) => Promise<void>,
  onError: (err: unknown) => void,
  afterErrorMs = ms,
): Repetition {
  const stopping = new AbortController();
  const wake = createWake();
  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      let again = ms;
      await work(stopping.signal).catch((err) => {
        again = afterErrorMs;
        onError(err);
      });
      if (!stopping.signal.aborted) await wake.sleep(again);
    }
  }
  const ended = run();
  return {
    async stop() {
      stopping.abort();
      wake.up();
      await ended;
    },
  };
}
