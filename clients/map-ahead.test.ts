import { expect, test } from 'vitest';
import { mapAhead } from './map-ahead.ts';
import { collect } from './testing/collect.ts';

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('gives results in the order of the items, with no more than so many under way', async () => {
  let underWay = 0;
  let most = 0;
  const results = await collect(
    mapAhead([5, 1, 3, 0, 2], 3, async (ms) => {
      most = Math.max(most, ++underWay);
      await later(ms);
      underWay--;
      return ms;
    }),
  );
  expect(results).toEqual([5, 1, 3, 0, 2]);
  expect(most).toBe(3);
});

test('one at a time, nothing starts before the one before it has ended', async () => {
  const log: string[] = [];
  const work = async (item: number) => {
    log.push(`start ${item}`);
    await later(1);
    log.push(`end ${item}`);
  };
  await collect(mapAhead([1, 2], 1, work));
  expect(log).toEqual(['start 1', 'end 1', 'start 2', 'end 2']);
});

test('stages follow each other, each ahead of the next', async () => {
  const first = mapAhead([1, 2, 3], 2, async (item) => item * 10);
  expect(await collect(mapAhead(first, 2, async (item) => item + 1))).toEqual([11, 21, 31]);
});

test('a failure is thrown in its turn, and nothing further is started', async () => {
  const started: number[] = [];
  const results: number[] = [];
  const mapped = mapAhead([1, 2, 3, 4], 2, async (item) => {
    started.push(item);
    if (item === 2) throw new Error('two');
    return item;
  });
  const all = async () => {
    for await (const result of mapped) results.push(result);
  };
  await expect(all()).rejects.toThrow('two');
  expect(results).toEqual([1]);
  expect(started).toEqual([1, 2, 3]);
});
