const numbers = new Intl.NumberFormat('en-GB');

/** `12392` as `12,392`. */
export function formatCount(count: number): string {
  return numbers.format(count);
}

/** `12392` pence as `£123.92`. */
export function formatPence(pence: number): string {
  const pounds = formatCount(Math.trunc(pence / 100));
  return `£${pounds}.${String(pence % 100).padStart(2, '0')}`;
}

export interface Row {
  label: string;
  count: number;
  /** Steps of two spaces. */
  indent?: number;
}

/** One line each, the counts in one column. */
export function formatTable(rows: readonly Row[]): string {
  const labels = rows.map((row) => '  '.repeat(row.indent ?? 0) + row.label);
  const counts = rows.map((row) => formatCount(row.count));
  const labelWidth = Math.max(...labels.map((label) => label.length));
  const countWidth = Math.max(...counts.map((count) => count.length));
  return labels
    .map((label, i) => `${label.padEnd(labelWidth)}  ${(counts[i] ?? '').padStart(countWidth)}`)
    .join('\n');
}

/** Counts by label, the largest first. */
export function byCount(counts: ReadonlyMap<string, number>): Row[] {
  return [...counts].map(([label, count]) => ({ label, count })).sort((a, b) => b.count - a.count);
}
