import { expect, test } from 'vitest';
import { withoutOwn } from './reader.ts';

test.each([
  ['10:10:', '10', '10:10:'],
  ['10:12:', '12', '10:12:'],
  ['12:14:', '11', '11:14:11'],
  ['10:14:10', '12', '10:14:10,12'],
  ['9:110:9,100', '10', '9:110:9,10,100'],
])('the snapshot %s, seen by transaction %s, counts it among those that run: %s', (snapshot, own, seen) => {
  expect(withoutOwn(snapshot, own)).toBe(seen);
});
