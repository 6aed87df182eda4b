import { expect, test } from 'vitest';
import { seededRandom, zipf } from './zipf.ts';

test('the same seed gives the same numbers, another seed others', () => {
  const draw = (seed: number) => Array.from({ length: 5 }, seededRandom(seed));
  expect(draw(1)).toEqual(draw(1));
  expect(draw(1)).not.toEqual(draw(2));
  for (const number of draw(3)) expect(number >= 0 && number < 1).toBe(true);
});

test('the shares of the keys follow 1 / rank', () => {
  const next = zipf(100, seededRandom(7));
  const seen = new Array<number>(100).fill(0);
  const draws = 200_000;
  for (let i = 0; i < draws; i += 1) {
    const key = next();
    seen[key] = (seen[key] ?? 0) + 1;
  }
  const harmonic = seen.reduce((sum, _, k) => sum + 1 / (k + 1), 0);
  for (const k of [0, 1, 9, 49, 99]) {
    const share = 1 / (k + 1) / harmonic;
    // Five standard deviations of a count: a wrong law is off by far more.
    const deviation = Math.sqrt(share * (1 - share) * draws);
    expect(Math.abs((seen[k] as number) - share * draws)).toBeLessThan(5 * deviation);
  }
  expect(Math.min(...seen)).toBeGreaterThan(0);
});
