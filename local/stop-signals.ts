const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Ctrl-C reaches the runner from the terminal and again from npm and the bootstrap above it; in milliseconds. */
const BURST_MS = 500;

/**
 * Calls `first` at the first signal that asks the runner to end, and `again` when a person insists. A closed terminal
 * (SIGHUP) never insists: it comes several times by itself.
 */
export function onStopSignals(o: {
  first(signal: NodeJS.Signals): void;
  again(signal: NodeJS.Signals): void;
  /** For tests. */
  source?: NodeJS.EventEmitter;
  now?(): number;
}): void {
  const now = o.now ?? (() => performance.now());
  let firstAt: number | undefined;
  for (const signal of SIGNALS)
    (o.source ?? process).on(signal, () => {
      if (firstAt === undefined) {
        firstAt = now();
        o.first(signal);
      } else if (signal !== 'SIGHUP' && now() - firstAt > BURST_MS) o.again(signal);
    });
}
