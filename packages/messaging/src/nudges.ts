import type { Target } from './outbox-insert.ts';

/** Tells those who move messages of commits, but only of such as may have written some for them. */
export interface Nudges {
  on(target: Target, nudge: () => void): void;
  /** Messages were written in a transaction that has not committed yet. */
  wrote(targets: ReadonlySet<Target>): void;
  /** Some transaction of this process was committed. */
  committed(): void;
}

/** A transaction that lasts longer after its write is found by the next poll, in ms. */
const LONGEST_MS = 10_000;

export function createNudges(): Nudges {
  const nudges = new Map<Target, () => void>();
  const writtenAt = new Map<Target, number>();
  return {
    on(target, nudge) {
      nudges.set(target, nudge);
    },
    wrote(targets) {
      for (const target of targets) writtenAt.set(target, performance.now());
    },
    committed() {
      const since = performance.now() - LONGEST_MS;
      for (const [target, at] of writtenAt) if (at > since) nudges.get(target)?.();
    },
  };
}
