import { expect, test } from 'vitest';
import { msDuring } from './condense.ts';

test('an append counts when it was under way while the stream was condensed', () => {
  const appends = [
    { from: 0, until: 10 },
    { from: 15, until: 22 },
    { from: 25, until: 26 },
    { from: 28, until: 40 },
    { from: 41, until: 50 },
  ];
  expect(msDuring(appends, 20, 30)).toEqual([7, 1, 12]);
  expect(msDuring(appends, 10, 15)).toEqual([]);
});
