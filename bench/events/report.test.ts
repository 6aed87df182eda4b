import { expect, test } from 'vitest';
import type { Result } from '../cells/results.ts';
import { OWN, PEER, RAW } from './cell.ts';
import { reportOf } from './report.ts';

const result = (arm: string, count: number, cpu: Result['cpu'], more: Partial<Result> = {}): Result => ({
  ...{ cell: '1 event, 8 writers', arm, round: 0, count, seconds: 1, faults: [], cpu, walBytes: 0 },
  ...more,
});

test('ratios are by rate and by processor time, each of the peer and of raw', () => {
  const report = reportOf([
    result(OWN, 800, { service: 0.1, PostgreSQL: 0.1 }),
    result(PEER, 400, { service: 0.2, PostgreSQL: 0.2 }),
    result(RAW, 1000, { service: 0.1, PostgreSQL: 0.1 }),
  ]);
  const once = (ratio: string) => `${ratio} (${ratio} to ${ratio})`;
  expect(report).toContain(
    `| append of 1 event, 8 writers, in a transaction | ${['2.00', '0.80', '4.00', '0.80'].map(once).join(' | ')} |`,
  );
});

test('what does not count is told of and in no ratio', () => {
  const report = reportOf([result(OWN, 800, {}, { faults: ['1 events lost'] }), result(PEER, 400, {})]);
  expect(report).toContain('- 1 event, 8 writers, sidecart, round 1 does not count: 1 events lost');
  expect(report).not.toContain('2.00');
});
