import { expect, test } from 'vitest';
import { measuredText, roundsOf } from '../cells/figures.ts';
import type { Result } from '../cells/results.ts';
import { bestPeer, goalsOf } from './goals.ts';
import { OWN } from './plan.ts';

const CELL = 'ordered, single';
const result = (arm: string, round: number, count: number, more: Partial<Result> = {}): Result => ({
  ...{ cell: CELL, arm, round, count, seconds: 2, faults: [], cpu: {}, walBytes: 0 },
  ...more,
});

test('what has a wrong ledger does not count, and its arm is no best peer', () => {
  const results = [
    result('pg-boss, polling', 0, 100),
    result('pg-boss, polling', 1, 120),
    result('graphile-worker, batching', 0, 900),
    result('graphile-worker, batching', 1, 900, { faults: ['1 messages lost'] }),
    result('pg-transactional-outbox, polling', 0, 900, { failed: true }),
  ];
  expect([...roundsOf(results, CELL, 'graphile-worker, batching').keys()]).toEqual([0]);
  expect(bestPeer(results, CELL)).toBe('pg-boss, polling');
});

test('a goal is met by its median', () => {
  const peer = [result('pg-boss, polling', 0, 100), result('pg-boss, polling', 1, 100)];
  const goal = (first: number, second: number) =>
    goalsOf([...peer, result(OWN, 0, first), result(OWN, 1, second)]).find(({ goal }) => goal.includes(CELL));
  expect(goal(150, 400)).toMatchObject({ measured: [1.5, 4], met: false });
  expect(goal(200, 400)).toMatchObject({ measured: [2, 4], met: true });
});

test('what was not measured is not met and not missed', () => {
  const [goal] = goalsOf([]);
  expect(goal?.met).toBeUndefined();
  expect(goal && measuredText(goal)).toBe('not measured');
});

test('the soak has to go on at its rate while a transaction is open in its middle parts', () => {
  const soak = (...counts: (number | undefined)[]) => {
    const parts = counts.map((count) => ({ p50: 1, p99: 2, p999: 3, ...(count !== undefined && { count }) }));
    return goalsOf([result(OWN, 0, 600, { cell: 'soak', parts })]).find(({ goal }) => goal.includes('soak'));
  };
  expect(soak(100, 90, 80, 70, 80, 100)).toMatchObject({ measured: [0.8], met: true });
  expect(soak(100, 70, 70, 70, 70, 140)).toMatchObject({ met: false });
  expect(soak(undefined, undefined, undefined)?.met).toBeUndefined();
});
