/** Does at most so many pieces of work at a time, in the order in which they came. */
export function createHands(count: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = count;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((go) => waiting.push(go));
    try {
      return await work();
    } finally {
      // To whoever waits longest: were it free in between, one that just came could take it.
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    }
  };
}
