import { markdown, spread } from '../statistics.ts';
import { counts, type Goal, measuredText, rate, roundsOf } from './figures.ts';
import type { Result } from './results.ts';

export interface Row {
  cell: string;
  arm: string;
  /** The first columns. */
  names: string[];
}

type Quantile = 'p50' | 'p99' | 'p999';

const QUANTILES: Record<Quantile, string> = { p50: 'p50, ms', p99: 'p99, ms', p999: 'p99.9, ms' };

/** The figures of some arms in some cells; empty when none of them was run. */
export function table(
  results: readonly Result[],
  head: string[],
  rows: Row[],
  latencies: readonly Quantile[] = [],
): string {
  const found = rows.filter(({ cell, arm }) => results.some((one) => one.cell === cell && one.arm === arm));
  if (found.length === 0) return '';
  const times = latencies.map((name) => QUANTILES[name]);
  const columns = [...head, 'per second', ...times, 'CPU s per 1000', 'WAL bytes each', 'ledger'];
  return markdown(
    columns,
    found.map(({ cell, arm, names }) => {
      const all = results.filter((one) => one.cell === cell && one.arm === arm);
      const good = all.filter(counts);
      const quantiles = latencies.map((name) => latencyText(results, { cell, arm }, name));
      return [...names, rates(good), ...quantiles, cpuPer1000(good), walEach(good), ledgerText(all)];
    }),
  );
}

export const rates = (good: Result[]) => (good.length > 0 ? spread(good.map(rate), 0) : 'does not count');

/** `service 0.10, PostgreSQL 0.20`: whoever used any. */
export function cpuPer1000(good: readonly Result[]): string {
  const count = good.reduce((sum, one) => sum + one.count, 0);
  const total = new Map<string, number>();
  for (const { cpu } of good)
    for (const [who, seconds] of Object.entries(cpu)) total.set(who, (total.get(who) ?? 0) + seconds);
  return [...total]
    .filter(([, seconds]) => seconds > 0 && count > 0)
    .map(([who, seconds]) => `${who} ${((seconds / count) * 1000).toFixed(3)}`)
    .join(', ');
}

function walEach(good: readonly Result[]): string {
  const count = good.reduce((sum, one) => sum + one.count, 0);
  const bytes = good.reduce((sum, one) => sum + one.walBytes, 0);
  return bytes > 0 ? (bytes / count).toFixed(0) : '';
}

/** `exact`, or in how many rounds it was not; beside an arm that was too slow for its load what it still had. */
export function ledgerText(all: readonly Result[]): string {
  const wrong = all.filter((one) => !counts(one)).length;
  const left = Math.max(0, ...all.map((one) => one.left ?? 0));
  const exact = wrong === 0 ? 'exact' : `wrong in ${wrong} of ${all.length} rounds`;
  return left > 0 ? `${exact}, up to ${left} left waiting` : exact;
}

/** `p50`, `p99` or `p999` of an arm in a cell, as median and range of the rounds. */
export function latencyText(
  results: readonly Result[],
  { cell, arm }: Pick<Row, 'cell' | 'arm'>,
  name: Quantile,
): string {
  const rounds = [
    ...roundsOf(results, cell, arm, ({ latencies }) => latencies?.[name] ?? Number.NaN).values(),
  ];
  return rounds.length > 0 ? spread(rounds, 2) : 'does not count';
}

export function goalTable(goals: readonly Goal[]): string {
  const verdict = { true: 'yes', false: '**no**', undefined: '' };
  return markdown(
    ['goal', 'wanted', 'median (range) of the rounds', 'met'],
    goals.map((goal) => [
      goal.goal,
      goal.wanted,
      measuredText(goal),
      verdict[`${goal.met}` as keyof typeof verdict],
    ]),
  );
}

/** What was wrong with each result that does not count. */
export function faultList(results: readonly Result[]): string {
  return results
    .filter((one) => !counts(one))
    .map(
      ({ cell, arm, round, faults }) =>
        `- ${cell}, ${arm}, round ${round + 1} does not count: ${faults.join('; ')}`,
    )
    .join('\n');
}
