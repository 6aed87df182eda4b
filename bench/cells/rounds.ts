import { rate } from './figures.ts';
import type { CellRun } from './outcome.ts';
import type { Result, Results } from './results.ts';

/** What several arms do, one after the other, once in each round. */
export interface Planned {
  cell: string;
  group: string;
  arms: readonly string[];
  /** In the first round only. */
  once?: boolean;
}

/** The arms in the order of a round: each of them is first, second and so on equally often, so that a drift of the machine meets all alike. */
export function rotated<T>(arms: readonly T[], round: number): T[] {
  return arms.map((_, i) => arms[(i + round) % arms.length] as T);
}

/** Runs what is not in `results` yet. What goes wrong in a cell is a result too, and the run goes on. */
export async function runRounds<P extends Planned>(o: {
  rounds: number;
  cells: readonly P[];
  results: Results;
  /** The run is ended: what fails from here on is no result. */
  stop: AbortSignal;
  run(planned: P, arm: string, round: number): Promise<CellRun>;
  /** Before the arms of a cell, unless all are done. */
  before?(planned: P, round: number): Promise<void>;
  afterRound?(): Promise<void>;
}): Promise<void> {
  const { results } = o;
  for (let round = 0; round < o.rounds; round += 1) {
    for (const planned of o.cells.filter(({ once }) => !once || round === 0)) {
      const { cell } = planned;
      const left = rotated(planned.arms, round).filter((arm) => !results.has(cell, arm, round));
      if (left.length === 0) continue;
      await o.before?.(planned, round);
      for (const arm of left) {
        const result = await resultOf({ cell, arm, round }, () => o.run(planned, arm, round));
        if (o.stop.aborted) return;
        results.add(result);
        console.error(`round ${round + 1}, ${cell}, ${arm}: ${textOf(result)}`);
      }
    }
    await o.afterRound?.();
  }
}

async function resultOf(
  about: Pick<Result, 'cell' | 'arm' | 'round'>,
  run: () => Promise<CellRun>,
): Promise<Result> {
  try {
    return { ...about, ...(await run()) };
  } catch (err) {
    const faults = [`it failed: ${(err as Error).message}`];
    return { ...about, count: 0, seconds: 1, faults, cpu: {}, walBytes: 0, failed: true };
  }
}

function textOf(result: Result): string {
  const verdict = result.faults.length > 0 ? `, DOES NOT COUNT: ${result.faults.join('; ')}` : '';
  return `${rate(result).toFixed(0)}/s${verdict}`;
}
