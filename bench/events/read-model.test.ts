import { expect, test } from 'vitest';
import { foldPage } from './read-model.ts';

const row = (stream_id: string, version: number, pence: number) => ({ stream_id, version, data: { pence } });

test('a page adds up by stream, and tells a version that does not follow', () => {
  expect(foldPage([row('a', 4, 1), row('b', 1, 10), row('a', 5, 2), row('b', 3, 20)])).toEqual([
    { id: 'a', events: 2, pence: 3, first: 4, last: 5, disorder: 0 },
    { id: 'b', events: 2, pence: 30, first: 1, last: 3, disorder: 1 },
  ]);
});
