/**
 * Told what is happening. A `passing` line replaces the last one about the same step (bytes so far, seconds so
 * far) and may be dropped; the others say something new. Passing lines come about once a second.
 */
export type Progress = (line: string, o?: { passing?: boolean }) => void;

/** `1:05`, `0:07`: minutes and seconds since `startedAt` (milliseconds). */
export function elapsed(startedAt: number, now: number = Date.now()): string {
  const seconds = Math.floor((now - startedAt) / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** Lets at most one line a second through. */
export function oncePerSecond(tell: (line: string) => void): (line: string) => void {
  let last = 0;
  return (line) => {
    const now = Date.now();
    if (now - last < 1000) return;
    last = now;
    tell(line);
  };
}
