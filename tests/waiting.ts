import { setTimeout as timer } from 'node:timers/promises';

// Waiting, for tests that look at other processes.

export const sleep = (ms: number): Promise<void> => timer(ms);

/** Repeats `look` until it gives something, and says what it waited for when it does not. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  withinMs = 45_000,
  everyMs = 50,
): Promise<T> {
  const end = performance.now() + withinMs;
  let last: unknown;
  while (performance.now() < end) {
    try {
      const found = await look();
      if (found) return found;
    } catch (err) {
      last = err;
    }
    await sleep(everyMs);
  }
  throw new Error(`waited ${withinMs} ms in vain for: ${what}${last ? ` (last error: ${last})` : ''}`);
}

/** Waits until `check` holds; fails after `ms` with what was seen last. */
export async function eventually(check: () => void | Promise<void>, ms = 10_000): Promise<void> {
  const end = performance.now() + ms;
  for (;;) {
    try {
      return await check();
    } catch (err) {
      if (performance.now() > end) throw err;
      await sleep(20);
    }
  }
}
