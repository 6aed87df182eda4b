/**
 * Turns at the keys: a writer that has the turn of a key is the only one, so the order of the commits of a key is known.
 * Taken before the transaction begins, because graphile-worker and pg-boss order by its beginning, not by its commit.
 */
export interface Turns {
  /** Resolves once all the keys are this writer's; the answer gives them back. */
  take(keys: Iterable<string>): Promise<() => void>;
}

export function createTurns(): Turns {
  const tails = new Map<string, Promise<void>>();
  return {
    async take(keys) {
      // All of them in one go: two writers that want the same keys are in the same order at each of them.
      const own = [...new Set(keys)];
      const before = own.map((key) => tails.get(key));
      const { promise, resolve } = Promise.withResolvers<void>();
      for (const key of own) tails.set(key, promise);
      await Promise.all(before);
      return () => {
        for (const key of own) if (tails.get(key) === promise) tails.delete(key);
        resolve();
      };
    },
  };
}
