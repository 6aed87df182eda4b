import { median, spread } from '../statistics.ts';
import { BROKER_ARMS, PRICE } from './cell.ts';
import { BACKLOG, BEST_PEERS, BROKER, LOCAL_CELLS, OWN } from './plan.ts';
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

export const rate = ({ count, seconds }: Result) => count / seconds;

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

/** The peer with the highest median of those whose every ledger was exact. */
export function bestPeer(results: readonly Result[], cell: string): string | undefined {
  const exact = BEST_PEERS.filter((arm) => {
    const own = results.filter((result) => result.cell === cell && result.arm === arm);
    return own.length > 0 && own.every(counts);
  });
  const medianOf = (arm: string) => median([...roundsOf(results, cell, arm).values()]);
  return exact.sort((a, b) => medianOf(b) - medianOf(a))[0];
}

const share = (a: number, b: number) => a / b;

/** The goals of the project for its messages, each with what was measured. */
export function goalsOf(results: readonly Result[]): Goal[] {
  const ratio = (goal: string, own: Rounds, other: Rounds, atLeast: number): Goal => {
    const measured = paired(own, other, share);
    return judged(goal, `at least ${atLeast}`, measured, ' x', (value) => value >= atLeast);
  };
  const of = (cell: string, arm: string, figure?: (result: Result) => number) =>
    roundsOf(results, cell, arm, figure);
  const [own, bare, after] = BROKER_ARMS;
  const p99 = ({ latencies }: Result) => latencies?.p99 ?? Number.NaN;
  return [
    ...LOCAL_CELLS.map((cell) => {
      const peer = bestPeer(results, cell) ?? '';
      const goal = `no broker, ${cell}: of the best peer${peer && ` (${peer})`}`;
      return ratio(goal, of(cell, OWN), of(cell, peer), cell.startsWith('ordered') ? 2 : 1);
    }),
    ...[BROKER.writers, BROKER.backlog].map((cell) =>
      ratio(`through the broker, ${cell}: of the bare sidecar`, of(cell, own), of(cell, bare), 0.8),
    ),
    ratio(
      'through the broker, writers running: of the bare sidecar beside the same transactions',
      of(BROKER.writers, own),
      of(BROKER.writers, after),
      0.8,
    ),
    judged(
      'half load: p99 over that of the bare sidecar',
      'at most 30 ms',
      paired(of(BROKER.half, own, p99), of(BROKER.half, bare, p99), (a, b) => a - b),
      ' ms',
      (value) => value <= 30,
    ),
    ...PRICE.bodies.flatMap((body) =>
      PRICE.messages.slice(1).map((message) => {
        const without = of('price', `${body}, ${PRICE.messages[0]}`);
        const measured = paired(without, of('price', `${body}, ${message}`), share);
        const goal = `the writer's time with ${message}, transaction of ${body}`;
        return judged(goal, 'at most 1.25', measured, ' x', (value) => value <= 1.25);
      }),
    ),
    ratio('a long backlog: of an empty start', of(BACKLOG.long, OWN), of(BACKLOG.empty, OWN), 0.9),
    ratio('with a transaction open elsewhere: of without', of(BACKLOG.open, OWN), of(BACKLOG.long, OWN), 0.8),
  ];
}

function judged(
  goal: string,
  wanted: string,
  measured: number[],
  unit: string,
  holds: (value: number) => boolean,
): Goal {
  return { goal, wanted, measured, unit, met: measured.length > 0 ? holds(median(measured)) : undefined };
}

/** `1.90 x (1.80 to 2.00)`, or that there is nothing to tell. */
export function measuredText({ measured, unit }: Goal): string {
  return measured.length > 0 ? `${spread(measured, 2)}${unit}` : 'not measured';
}
