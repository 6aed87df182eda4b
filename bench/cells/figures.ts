import { median, spread } from '../statistics.ts';
import type { Result } from './results.ts';

/** A figure of an arm in a cell, by round. */
export type Rounds = ReadonlyMap<number, number>;

export interface Goal {
  goal: string;
  wanted: string;
  /** One per round in which both arms count. */
  measured: number[];
  unit: string;
  /** By the median; undefined when nothing was measured. */
  met: boolean | undefined;
}

/** Whether the ledger of a result was exact. */
export const counts = (result: Result) => !result.failed && result.faults.length === 0;

export const rate = ({ count, seconds }: Pick<Result, 'count' | 'seconds'>) => count / seconds;

/** Where both cores are busy, what is steadier than a rate: another program that wants them too takes none of it. */
export const perCpuSecond = ({ count, cpu }: Pick<Result, 'count' | 'cpu'>) =>
  count / Object.values(cpu).reduce((sum, seconds) => sum + seconds, 0);

/** What an arm did in a cell, in the rounds that count. */
export function roundsOf(
  results: readonly Result[],
  cell: string,
  arm: string,
  figure: (result: Result) => number = rate,
): Rounds {
  const own = results.filter((result) => result.cell === cell && result.arm === arm && counts(result));
  return new Map(own.map((result) => [result.round, figure(result)]));
}

/** Compares round with round, so that what the machine did in a round is in both. */
export function paired(a: Rounds, b: Rounds, compare: (a: number, b: number) => number): number[] {
  return [...a].flatMap(([round, figure]) => {
    const other = b.get(round);
    return other === undefined ? [] : [compare(figure, other)];
  });
}

export const share = (a: number, b: number) => a / b;

/** So many times what the other does, or more. */
export function atLeast(goal: string, own: Rounds, other: Rounds, times: number): Goal {
  const measured = paired(own, other, share);
  return judged(goal, `at least ${times}`, measured, ' x', (value) => value >= times);
}

export function judged(
  goal: string,
  wanted: string,
  measured: number[],
  unit: string,
  holds: (value: number) => boolean,
): Goal {
  return { goal, wanted, measured, unit, met: measured.length > 0 ? holds(median(measured)) : undefined };
}

/** `1.90 x (1.80 to 2.00)`, or that there is nothing to tell. */
export function measuredText({ measured, unit }: Pick<Goal, 'measured' | 'unit'>): string {
  return measured.length > 0 ? `${spread(measured, 2)}${unit}` : 'not measured';
}
