import { afterEach, beforeEach, expect, test, vi } from 'vitest';

beforeEach(() => void vi.resetModules());
afterEach(() => void vi.unstubAllEnvs());

test.each(['abc', '1.5', '-1'])('a SEED that is no whole number, as %s, is refused', async (text) => {
  vi.stubEnv('SEED', text);
  await expect(import('./seed.ts')).rejects.toThrow(`SEED wants a whole number, 0 or more, not '${text}'`);
});

test('a SEED is taken; an empty one is none', async () => {
  vi.stubEnv('SEED', '7');
  expect((await import('./seed.ts')).seed).toBe(7);
  vi.resetModules();
  vi.stubEnv('SEED', '');
  expect((await import('./seed.ts')).seed).toBeGreaterThanOrEqual(0);
});

test('ROUNDS says how often; empty is the usual number, and 0, in which nothing would be tried, is refused', async () => {
  const { times } = await import('./seed.ts');
  vi.stubEnv('ROUNDS', '3');
  expect(times('ROUNDS', 60)).toBe(3);
  vi.stubEnv('ROUNDS', '');
  expect(times('ROUNDS', 60)).toBe(60);
  for (const text of ['0', 'abc', '-2', '0.5']) {
    vi.stubEnv('ROUNDS', text);
    expect(() => times('ROUNDS', 60)).toThrow(`ROUNDS wants a whole number, 1 or more, not '${text}'`);
  }
});
