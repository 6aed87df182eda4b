import { expect, test } from 'vitest';
import type { Result } from '../cells/results.ts';
import { OWN, OWN_ALONE, PEER, RAW, RAW_ALONE } from './cell.ts';
import { goalsOf } from './goals.ts';
import { CONDENSE, LONG_WITH_SNAPSHOT, SHORT_WITHOUT } from './plan.ts';

const result = (cell: string, arm: string, count: number, more: Partial<Result> = {}): Result => ({
  ...{ cell, arm, round: 0, count, seconds: 1, faults: [], cpu: {}, walBytes: 0 },
  ...more,
});
const goal = (name: string, results: Result[]) => goalsOf(results).find((one) => one.goal.includes(name));

test('appends are judged by their rate, of the peer and of raw, each way by its own', () => {
  const cell = '1 event, 8 writers';
  const own = [result(cell, OWN, 800), result(cell, OWN_ALONE, 900)];
  const results = [...own, result(cell, PEER, 420), result(cell, RAW, 1200), result(cell, RAW_ALONE, 1280)];
  expect(goal(`in a transaction, ${cell}: of emmett`, results)?.met).toBe(false);
  expect(goal(`in a transaction, ${cell}: of raw`, results)?.met).toBe(false);
  expect(goal(`by itself, ${cell}: of emmett`, results)?.met).toBe(true);
  expect(goal(`by itself, ${cell}: of raw`, results)?.met).toBe(true);
  const slower = [result(cell, OWN_ALONE, 830), result(cell, PEER, 420)];
  expect(goal(`by itself, ${cell}: of emmett`, slower)?.met).toBe(false);
  const faster = [result(cell, OWN, 840), result(cell, PEER, 420)];
  expect(goal(`in a transaction, ${cell}: of emmett`, faster)?.met).toBe(true);
});

test('loads are judged by their time', () => {
  const loads = (long: number) => [result(LONG_WITH_SNAPSHOT, OWN, long), result(SHORT_WITHOUT, OWN, 1000)];
  expect(goal(LONG_WITH_SNAPSHOT, loads(500))).toMatchObject({ measured: [2], met: true });
  expect(goal(LONG_WITH_SNAPSHOT, loads(400))).toMatchObject({ measured: [2.5], met: false });
});

test('appenders are judged by the longest append of each stream', () => {
  const held = (p99: number) => result(CONDENSE, OWN, 1, { latencies: { p50: 1, p99, p999: p99 } });
  expect(goal(CONDENSE, [held(50)])?.met).toBe(true);
  expect(goal(CONDENSE, [held(51)])?.met).toBe(false);
});
