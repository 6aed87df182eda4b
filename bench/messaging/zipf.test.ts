import { seededRandom } from '@sidecart/kit/seeded-random';
import { expect, test } from 'vitest';
import { zipf } from './zipf.ts';

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
