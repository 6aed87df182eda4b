/** How long to wait before the next start of a process that died `failures` times in a row, in milliseconds. */
export function backoffMs(failures: number): number {
  return Math.min(15_000, 250 * 2 ** Math.max(0, failures - 1));
}

/** A process that ran this long had a good start: its next death counts as its first. In milliseconds. */
export const STEADY_MS = 30_000;
