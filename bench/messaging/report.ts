import { counts, rate } from '../cells/figures.ts';
import type { Result } from '../cells/results.ts';
import { cpuPer1000, faultList, goalTable, latencyText, ledgerText, rates, table } from '../cells/tables.ts';
import { markdown } from '../statistics.ts';
import { BESIDE, BROKER_ARMS, PRICE, RAW_LIMITS } from './cell.ts';
import { goalsOf } from './goals.ts';
import { BACKLOG, BEST_PEERS, BROKER, LOCAL_CELLS, LONG_KEY_CELL, OWN } from './plan.ts';

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
      { cell: BROKER.half, title: `${BROKER.half}, commit to effect` },
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
    latencyTable(
      results,
      { cell: LONG_KEY_CELL, title: 'no broker, commit to effect beside' },
      BESIDE.filter((arm) => armsIn(LONG_KEY_CELL).includes(arm)),
    ),
    soakTable(results),
    goalTable(goalsOf(results)),
    faultList(results),
  ];
  return sections.filter((section) => section !== '').join('\n\n');
}

function latencyTable(
  results: readonly Result[],
  { cell, title }: { cell: string; title: string },
  arms: readonly string[],
): string {
  if (arms.length === 0) return '';
  const rows = arms.map((arm) => {
    const all = results.filter((one) => one.cell === cell && one.arm === arm);
    const shares = (['p50', 'p99', 'p999'] as const).map((name) => latencyText(results, { cell, arm }, name));
    return [arm, rates(all.filter(counts)), ...shares, ledgerText(all)];
  });
  const head = [title, 'per second', 'p50, ms', 'p99, ms', 'p99.9, ms', 'ledger'];
  return markdown(head, rows);
}

function soakTable(results: readonly Result[]): string {
  const soak = results.find(({ cell }) => cell === 'soak');
  if (!soak?.parts) return '';
  const last = soak.parts.length - 1;
  const minutes = (soak.seconds / soak.parts.length / 60).toFixed(1);
  const rows = soak.parts.map(({ p50, p99, p999, pause, count }, part) => [
    `${part + 1}${part > 0 && part < last ? ', a transaction open elsewhere' : ''}`,
    String(count),
    ...[p50, p99, p999, pause].map((ms) => ms.toFixed(2)),
  ]);
  const head = [
    `soak at ${rate(soak).toFixed(0)}/s, part of ${minutes} min`,
    'handled',
    'p50, ms',
    'p99, ms',
    'p99.9, ms',
    'longest pause, ms',
  ];
  return `${markdown(head, rows)}\n\nLedger of the soak: ${ledgerText([soak])}; CPU s per 1000: ${cpuPer1000([soak])}.`;
}
