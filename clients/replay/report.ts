import { byCount, formatCount, formatPence, formatTable, type Row } from '../text.ts';
import type { Books } from './books.ts';
import type { Ending } from './execute.ts';
import type { LineCounts } from './plan.ts';

/** A part of the report, and whether all is as it should be there. */
export interface Finding {
  text: string;
  good: boolean;
}

const FAULTS_SHOWN = 10;

/** How the invoices ended; good when each of the `taken`, of those in the file, ended exactly once. */
export function reportEndings(endings: readonly Ending[], taken: number, inFile: number): Finding {
  const rules = new Map<string, number>();
  for (const ending of endings) {
    if (ending.outcome === 'skipped') rules.set(ending.rule, (rules.get(ending.rule) ?? 0) + 1);
  }
  const number = (outcome: Ending['outcome']) => endings.filter((e) => e.outcome === outcome).length;
  const cancellations = endings.filter((e) => e.outcome === 'cancelled' && e.invoice.startsWith('C')).length;
  const rows: Row[] = [
    { label: 'delivered', count: number('delivered') },
    ...(['shipped', 'lost'] as const).flatMap((label) =>
      number(label) > 0 ? [{ label, count: number(label) }] : [],
    ),
    { label: 'confirmed, to be cancelled by a later invoice', count: number('confirmed') },
    { label: 'rejected', count: number('rejected') },
    { label: 'cancelled', count: number('cancelled') },
    { label: 'orders', count: number('cancelled') - cancellations, indent: 1 },
    { label: 'the cancellations of them', count: cancellations, indent: 1 },
    { label: 'cancellation that was refunded', count: number('refunded') },
    { label: 'skipped', count: number('skipped') },
    ...byCount(rules).map((row) => ({ ...row, indent: 1 })),
    { label: 'cancellation without a match', count: number('unmatched') },
  ];
  const ended = endings.length;
  const good = ended === taken && new Set(endings.map((ending) => ending.invoice)).size === ended;
  const all =
    taken === inFile ? `the ${formatCount(inFile)}` : `${formatCount(taken)} of the ${formatCount(inFile)}`;
  const sum = good
    ? `These are ${all} invoices of the file, each exactly once.`
    : `WRONG: ${all} invoices of the file were taken, but ${formatCount(ended)} ended.`;
  return { text: `Invoices\n${formatTable(rows.map(indented))}\n${sum}`, good };
}

/** What became of the lines of the invoices taken. */
export function reportLines(lines: LineCounts, broken: Map<string, number>): string {
  const leftOut = [...lines.leftOut.values()].reduce((sum, count) => sum + count, 0);
  const rows: Row[] = [
    { label: 'on orders', count: lines.ordered },
    { label: 'on cancellations', count: lines.cancelling },
    { label: 'on skipped invoices', count: lines.onSkippedInvoices },
    { label: 'left out', count: leftOut },
    ...byCount(lines.leftOut).map((row) => ({ ...row, indent: 1 })),
    ...byCount(broken).map(({ label, count }) => ({ label: `on no invoice: ${label}`, count })),
  ];
  return `Lines\n${formatTable(rows.map(indented))}`;
}

/** The books; good when they agree, are settled, and no order's total differs from its invoice's. */
export function reportBooks(books: Books, wrongTotals: readonly string[]): Finding {
  const n = formatCount;
  const faults = [...books.faults, ...wrongTotals];
  const good = faults.length === 0 && books.unsettled.length === 0;
  const lines = [
    `Stock of ${n(books.products)} products: received ${n(books.received)} = on hand ${n(books.onHand)}` +
      ` + reserved ${n(books.reserved)} + committed ${n(books.committed)}`,
    `Confirmed and shipped orders: ${n(books.orderedPieces)} pieces less what came back, as committed`,
    `Orders of any state: ${n(books.orders)}, in total ${formatPence(books.ordersTotal)}`,
    `Orders that have left: ${n(books.leftOrders)}, paid ${formatPence(books.paid)}, refunded ${formatPence(books.refunded)}`,
    `Payments: captured ${formatPence(books.captured)}, given back ${formatPence(books.paidBack)}, ` +
      `held for orders that have not left ${formatPence(books.held)}`,
  ];
  if (good) {
    lines.push(
      'They agree: product by product, and every order with its lines and its payment to the penny.',
    );
  }
  if (books.unsettled.length > 0) lines.push(`NOT SETTLED: ${books.unsettled.join('; ')}.`);
  if (faults.length > 0) {
    lines.push(`WRONG: ${n(faults.length)} entries do not agree.`);
    lines.push(...faults.slice(0, FAULTS_SHOWN).map((fault) => `  ${fault}`));
    if (faults.length > FAULTS_SHOWN) lines.push(`  and ${n(faults.length - FAULTS_SHOWN)} more`);
  }
  return { text: `Books of the whole shop\n${lines.map((line) => `  ${line}`).join('\n')}`, good };
}

function indented(row: Row): Row {
  return { ...row, indent: (row.indent ?? 0) + 1 };
}
