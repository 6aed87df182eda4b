import { expect, test } from 'vitest';
import type { Result } from '../cells/results.ts';
import { cpuPer1000, ledgerText } from '../cells/tables.ts';
import { reportOf } from './report.ts';

const result = (more: Partial<Result>): Result => ({
  ...{ cell: 'ordered, single', arm: 'sidecart', round: 0, count: 1000, seconds: 2, faults: [], cpu: {} },
  ...{ walBytes: 0 },
  ...more,
});

test('processor seconds are of all rounds together', () => {
  const cpu = { service: 0.2, PostgreSQL: 0.4, idle: 0 };
  expect(cpuPer1000([result({ cpu }), result({ cpu: { service: 0.4, PostgreSQL: 0 }, count: 3000 })])).toBe(
    'service 0.150, PostgreSQL 0.100',
  );
});

test('a wrong ledger is told of in the table and below it, and its figure is not', () => {
  const report = reportOf([
    result({ count: 4000 }),
    result({ round: 1, count: 90_000, faults: ['2 messages lost'] }),
  ]);
  expect(report).toContain('| ordered, single | sidecart | 2000 (2000 to 2000) |');
  expect(report).toContain('wrong in 1 of 2 rounds');
  expect(report).toContain('- ordered, single, sidecart, round 2 does not count: 2 messages lost');
  expect(report).not.toContain('45000');
});

test('a slow arm may leave messages waiting', () => {
  expect(ledgerText([result({}), result({ left: 7 })])).toBe('exact, up to 7 left waiting');
});
