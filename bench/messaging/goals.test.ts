import { describe, expect, test } from 'vitest';
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

describe('while a transaction is open in the middle parts of the soak', () => {
  const part = (more: object = {}) => ({ p50: 1, p99: 2, p999: 3, count: 100, pause: 5, ...more });
  const goals = (...middle: ReturnType<typeof part>[]) => {
    const parts = [part(), ...middle, part()];
    return goalsOf([result(OWN, 0, 600, { cell: 'soak', parts })]).filter(({ goal }) =>
      goal.includes('soak'),
    );
  };
  const met = (...middle: ReturnType<typeof part>[]) => goals(...middle).map(({ met }) => met);

  test('it goes on as before', () => {
    expect(met(part(), part())).toEqual([true, true, true]);
    expect(met(part({ count: 80, p50: 1.2, pause: 1000 }))).toEqual([true, true, true]);
  });

  test.each([
    ['less than 80 % handled', { count: 70 }, [false, true, true]],
    ['a median that is more than a fifth longer', { p50: 1.3 }, [true, false, true]],
    ['a second in which nothing was handled, caught up later', { pause: 1001 }, [true, true, false]],
  ])('missed: %s', (_, middle, wanted) => {
    expect(met(part(middle))).toEqual(wanted);
  });

  test('nothing is judged when there was no soak', () => {
    const soaks = goalsOf([]).filter(({ goal }) => goal.includes('soak'));
    expect(soaks.map(({ met }) => met)).toEqual([undefined, undefined, undefined]);
  });
});
