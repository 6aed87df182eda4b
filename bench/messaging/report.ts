import { markdown, spread } from '../statistics.ts';
import { BROKER_ARMS, PRICE, RAW_LIMITS } from './cell.ts';
import { counts, goalsOf, measuredText, rate, roundsOf } from './goals.ts';
import { BACKLOG, BEST_PEERS, BROKER, LOCAL_CELLS, OWN } from './plan.ts';
import type { Result } from './results.ts';

/** The tables of a run, as Markdown for docs/benchmarks.md. */
export function reportOf(results: readonly Result[]): string {
  const armsIn = (cell: string) => [
    ...new Set(results.filter((result) => result.cell === cell).map(({ arm }) => arm)),
  ];
  const inOrder = (cell: string) => {
    const order = [OWN, ...BEST_PEERS];
    const place = (arm: string) => (order.includes(arm) ? order.indexOf(arm) : order.length);
    return armsIn(cell).sort((a, b) => place(a) - place(b));
  };
  const sections = [
    table(
      results,
      ['no broker', 'arm'],
      LOCAL_CELLS.flatMap((cell) => inOrder(cell).map((arm) => ({ cell, arm, names: [cell, arm] }))),
    ),
    table(
      results,
      ['limit of PostgreSQL alone'],
      RAW_LIMITS.map((arm) => ({ cell: 'limits', arm, names: [arm] })),
    ),
    table(
      results,
      ['through the broker', 'arm'],
      [BROKER.writers, BROKER.backlog].flatMap((cell) =>
        BROKER_ARMS.filter((arm) => armsIn(cell).includes(arm)).map((arm) => ({
          cell,
          arm,
          names: [cell, arm],
        })),
      ),
    ),
    latencyTable(
      results,
      BROKER.half,
      BROKER_ARMS.filter((arm) => armsIn(BROKER.half).includes(arm)),
    ),
    table(
      results,
      ['transaction'],
      PRICE.arms.map((arm) => ({ cell: 'price', arm, names: [arm] })),
    ),
    table(
      results,
      ['no broker, handling'],
      Object.values(BACKLOG).map((cell) => ({ cell, arm: OWN, names: [cell] })),
    ),
    soakTable(results),
    goalTable(results),
    faultList(results),
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

interface Row {
  cell: string;
  arm: string;
  /** The first columns. */
  names: string[];
}

function table(results: readonly Result[], head: string[], rows: Row[]): string {
  const found = rows.filter(({ cell, arm }) => results.some((one) => one.cell === cell && one.arm === arm));
  if (found.length === 0) return '';
  const columns = [...head, 'per second', 'CPU s per 1000', 'WAL bytes each', 'ledger'];
  return markdown(
    columns,
    found.map(({ cell, arm, names }) => {
      const all = results.filter((one) => one.cell === cell && one.arm === arm);
      const good = all.filter(counts);
      return [...names, rates(good), cpuPer1000(good), walEach(good), ledgerText(all)];
    }),
  );
}

const rates = (good: Result[]) => (good.length > 0 ? spread(good.map(rate), 0) : 'does not count');

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

function latencyTable(results: readonly Result[], cell: string, arms: readonly string[]): string {
  if (arms.length === 0) return '';
  const figure = (arm: string, name: 'p50' | 'p99' | 'p999') => {
    const rounds = [
      ...roundsOf(results, cell, arm, ({ latencies }) => latencies?.[name] ?? Number.NaN).values(),
    ];
    return rounds.length > 0 ? spread(rounds, 2) : 'does not count';
  };
  const rows = arms.map((arm) => {
    const all = results.filter((one) => one.cell === cell && one.arm === arm);
    const shares = (['p50', 'p99', 'p999'] as const).map((name) => figure(arm, name));
    return [arm, rates(all.filter(counts)), ...shares, ledgerText(all)];
  });
  const head = [`${cell}, commit to effect`, 'per second', 'p50, ms', 'p99, ms', 'p99.9, ms', 'ledger'];
  return markdown(head, rows);
}

function soakTable(results: readonly Result[]): string {
  const soak = results.find(({ cell }) => cell === 'soak');
  if (!soak?.parts) return '';
  const last = soak.parts.length - 1;
  const minutes = (soak.seconds / soak.parts.length / 60).toFixed(1);
  const rows = soak.parts.map(({ p50, p99, p999 }, part) => [
    `${part + 1}${part > 0 && part < last ? ', a transaction open elsewhere' : ''}`,
    ...[p50, p99, p999].map((ms) => ms.toFixed(2)),
  ]);
  const head = [
    `soak at ${rate(soak).toFixed(0)}/s, part of ${minutes} min`,
    'p50, ms',
    'p99, ms',
    'p99.9, ms',
  ];
  return `${markdown(head, rows)}\n\nLedger of the soak: ${ledgerText([soak])}; CPU s per 1000: ${cpuPer1000([soak])}.`;
}

function goalTable(results: readonly Result[]): string {
  const verdict = { true: 'yes', false: '**no**', undefined: '' };
  return markdown(
    ['goal', 'wanted', 'median (range) of the rounds', 'met'],
    goalsOf(results).map((goal) => [
      goal.goal,
      goal.wanted,
      measuredText(goal),
      verdict[`${goal.met}` as keyof typeof verdict],
    ]),
  );
}

function faultList(results: readonly Result[]): string {
  return results
    .filter((one) => !counts(one))
    .map(
      ({ cell, arm, round, faults }) =>
        `- ${cell}, ${arm}, round ${round + 1} does not count: ${faults.join('; ')}`,
    )
    .join('\n');
}
