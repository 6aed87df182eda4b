import { onTestFinished, vi } from 'vitest';

/** Until the end of the test timers of `ms` run for `hurriedMs` only: for what takes its time in real life and has no setting. */
export function hurryTimers(ms: number, hurriedMs: number): void {
  const setTimer = globalThis.setTimeout;
  const hurried = (work: () => void, after?: number, ...args: []) =>
    setTimer(work, after === ms ? hurriedMs : after, ...args);
  const spy = vi.spyOn(globalThis, 'setTimeout').mockImplementation(hurried as typeof setTimeout);
  onTestFinished(() => spy.mockRestore());
}
