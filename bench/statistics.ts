/** The value below which the share `p` (0..1) of the sorted samples lies (nearest rank). */
export function percentile(samples: number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))] ?? Number.NaN;
}

export const median = (samples: number[]) => percentile(samples, 0.5);

/** `median (lowest to highest)` of what several rounds gave. */
export function spread(rounds: number[], digits = 1): string {
  const [low, high] = [Math.min(...rounds), Math.max(...rounds)];
  return `${median(rounds).toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;
}

/** A table as Markdown. */
export function markdown(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
