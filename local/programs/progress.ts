import ora from 'ora';

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

/** Shows progress as a spinner on a terminal; elsewhere as lines, a passing one every 15 seconds at most. */
export function showProgress(stream: NodeJS.WriteStream): { progress: Progress; end(): void } {
  if (!stream.isTTY) {
    let last = Date.now();
    const progress: Progress = (line, o) => {
      if (o?.passing && Date.now() - last < 15_000) return;
      last = Date.now();
      stream.write(`${line}\n`);
    };
    return { progress, end: () => {} };
  }
  // The terminal stays in its usual mode, in which Ctrl-C reaches every process started from it.
  const spinner = ora({ stream, discardStdin: false });
  let said: string | undefined;
  const keep = () => {
    if (said !== undefined) spinner.stopAndPersist({ symbol: '·', text: said });
  };
  return {
    progress(line, o) {
      if (!o?.passing) {
        keep();
        said = line;
      }
      spinner.start(line);
    },
    end: keep,
  };
}
