import { expect, test } from 'vitest';
import { parseResults, type Result } from './results.ts';

const HEAD = '{"seconds":1}';
const result = (arm: string, more: Partial<Result> = {}): Result => ({
  ...{ cell: 'a cell', arm, round: 0, count: 1, seconds: 1, faults: [], cpu: {}, walBytes: 0 },
  ...more,
});
const lines = (...results: Result[]) => results.map((one) => `${JSON.stringify(one)}\n`).join('');

test('a run goes on with what there is; what was tried again stands, what was cut off does not', () => {
  const text = `${HEAD}\n${lines(result('a', { failed: true }), result('b'), result('a', { count: 2 }))}{"cell":"a ce`;
  const found = [...(parseResults(text, HEAD)?.values() ?? [])];
  expect(found).toEqual([result('a', { count: 2 }), result('b')]);
});

test('results of other settings are not taken for this run', () => {
  expect(parseResults(`${HEAD}\n`, '{"seconds":2}')).toBeUndefined();
});
