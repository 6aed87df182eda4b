import { counts, measuredText, paired, perCpuSecond, rate, roundsOf, share } from '../cells/figures.ts';
import type { Result } from '../cells/results.ts';
import { faultList, goalTable, latencyText, ledgerText, table } from '../cells/tables.ts';
import { markdown, spread } from '../statistics.ts';
import { BARE_LOOP, OWN, OWN_ALONE, PEER, RAW, RAW_ALONE, UNDISTURBED } from './cell.ts';
import { goalsOf } from './goals.ts';
import { APPENDS, CONDENSE, LOADS, REBUILD, REBUILD_FEW } from './plan.ts';

const ARMS = [OWN, OWN_ALONE, PEER, RAW, RAW_ALONE, BARE_LOOP];

/** The tables of a run, as Markdown for docs/benchmarks.md. */
export function reportOf(results: readonly Result[]): string {
  const rows = (cells: readonly string[]) =>
    cells.flatMap((cell) => ARMS.map((arm) => ({ cell, arm, names: [cell, arm] })));
  const appends = APPENDS.map(({ cell }) => cell);
  const loads = LOADS.map(({ cell }) => cell);
  const sections = [
    table(results, ['append of', 'arm'], rows(appends), LATENCIES),
    table(results, ['load of', 'arm'], rows(loads), LATENCIES),
    table(results, ['events projected anew', 'arm'], rows([REBUILD, REBUILD_FEW])),
    condenseTable(results),
    ratioTable(results),
    goalTable(goalsOf(results)),
    faultList(results),
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

const LATENCIES = ['p50', 'p99'] as const;

function condenseTable(results: readonly Result[]): string {
  const own = results.filter(({ cell }) => cell === CONDENSE);
  const rows = [OWN, UNDISTURBED].flatMap((arm) => {
    const all = own.filter((one) => one.arm === arm);
    const good = all.filter(counts);
    if (good.length === 0) return [];
    const longest = (['p50', 'p99'] as const).map((name) =>
      latencyText(results, { cell: CONDENSE, arm }, name),
    );
    const during = spread(
      good.map((one) => one.during?.p99 ?? Number.NaN),
      2,
    );
    const each = spread(
      good.map(({ count, seconds }) => (seconds / count) * 10_000),
      2,
    );
    return [[arm, each, ...longest, during, ledgerText(all)]];
  });
  if (rows.length === 0) return '';
  return markdown(
    [
      'an appender beside 10,000 events condensed',
      's a stream',
      'longest append of a stream: p50, ms',
      'p99, ms',
      'all appends: p99, ms',
      'ledger',
    ],
    rows,
  );
}

/** Of the peer and of raw, round by round, and by the processor time of all. */
function ratioTable(results: readonly Result[]): string {
  const ratio = (cell: string, own: string, other: string, figure: (result: Result) => number) => {
    const measured = paired(
      roundsOf(results, cell, own, figure),
      roundsOf(results, cell, other, figure),
      share,
    );
    return measured.length > 0 ? measuredText({ measured, unit: '' }) : '';
  };
  const row = (name: string, cell: string, own: string, raw: string) => [
    name,
    ...[rate, perCpuSecond].flatMap((figure) => [PEER, raw].map((other) => ratio(cell, own, other, figure))),
  ];
  const rows = [
    ...APPENDS.map(({ cell }) => row(`append of ${cell}, in a transaction`, cell, OWN, RAW)),
    ...APPENDS.map(({ cell }) => row(`append of ${cell}, one statement`, cell, OWN_ALONE, RAW_ALONE)),
    ...LOADS.map(({ cell }) => row(`load of ${cell}`, cell, OWN, RAW)),
    ...[REBUILD, REBUILD_FEW].map((cell) => row(cell, cell, OWN, BARE_LOOP)),
  ].filter(([, ...ratios]) => ratios.some((text) => text !== ''));
  const head = ['sidecart', 'per second, of emmett', 'of raw', 'per CPU second, of emmett', 'of raw'];
  return rows.length > 0 ? markdown(head, rows) : '';
}
