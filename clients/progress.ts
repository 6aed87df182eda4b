import cliProgress from 'cli-progress';

export interface Progress {
  /** `count` more are done. */
  advance(count?: number): void;
  stop(): void;
}

const PLAIN_LINE_EVERY_MS = 10_000;

/** A progress bar on stderr; where that is no terminal, a plain line every few seconds. Nothing of nothing is not shown. */
export function startProgress(label: string, total: number): Progress {
  if (total === 0) return { advance() {}, stop() {} };
  const bar = new cliProgress.SingleBar(
    {
      format: `${label} {bar} {percentage}% | {value}/{total} | {duration_formatted}, {eta_formatted} to go`,
      noTTYOutput: true,
      notTTYSchedule: PLAIN_LINE_EVERY_MS,
      hideCursor: true,
      gracefulExit: false,
      formatTime: formatDuration,
      barsize: 30,
      etaBuffer: 500,
    },
    cliProgress.Presets.shades_classic,
  );
  bar.start(total, 0);
  return { advance: (count = 1) => bar.increment(count), stop: () => bar.stop() };
}

function formatDuration(seconds: number): string {
  const whole = Math.round(seconds);
  const minutes = Math.trunc(whole / 60);
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}
