import { expect, test } from 'vitest';
import { markdown, median, percentile, spread } from './statistics.ts';

test('percentiles are nearest rank', () => {
  const samples = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect([percentile(samples, 0.5), percentile(samples, 0.99), percentile(samples, 1)]).toEqual([
    50, 99, 100,
  ]);
  expect(median([3, 1, 2])).toBe(2);
  expect(percentile([], 0.5)).toBeNaN();
});

test('a spread names the median and both ends', () => {
  expect(spread([3, 1, 2])).toBe('2.0 (1.0 to 3.0)');
});

test('a table is Markdown', () => {
  expect(markdown(['a', 'b'], [['1', '2']])).toBe('| a | b |\n| --- | --- |\n| 1 | 2 |');
});
