import { expect, test, vi } from 'vitest';
import type { FailingMessage } from './failing.ts';
import { pause } from './fixture.ts';
import { createGuard } from './guard.ts';

const message = { topic: 'orders', eventId: 'm1' } as FailingMessage;

/** Tries a message whose handler goes on after it was undone; what it returns tells how often its count was taken back. */
async function undone(handling: Promise<void>): Promise<() => number> {
  let ends = 0;
  const begun = {
    starts: 1,
    leave() {},
    async end() {
      ends += 1;
    },
  };
  const poison = { begin: async () => begun };
  const guard = createGuard({ poison, timeoutMs: 10, retryMs: 10 });
  const trying = guard.retried(message, new AbortController().signal, async ({ onBegun }) => {
    onBegun(handling);
    throw new Error('undone');
  });
  await expect(trying).rejects.toThrow('undone');
  return () => ends;
}

test('a try counts until its handler has ended', async () => {
  const handling = Promise.withResolvers<void>();
  const ends = await undone(handling.promise);
  await pause(20);
  expect(ends()).toBe(0);
  handling.resolve();
  await pause(1);
  expect(ends()).toBe(1);
});

test('others wait for it no longer than for a delivery', async () => {
  const begun = { starts: 1, leave: vi.fn(), async end() {} };
  const guard = createGuard({ poison: { begin: async () => begun }, timeoutMs: 50, retryMs: 10_000 });
  const trying = guard.retried(message, new AbortController().signal, () => pause(150));
  await pause(20);
  expect(begun.leave).not.toHaveBeenCalled();
  await pause(80);
  expect(begun.leave).toHaveBeenCalled();
  await trying;
});
