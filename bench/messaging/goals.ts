import {
  atLeast,
  counts,
  type Goal,
  judged,
  paired,
  type Rounds,
  roundsOf,
  share,
} from '../cells/figures.ts';
import type { Result } from '../cells/results.ts';
import { median } from '../statistics.ts';
import { BROKER_ARMS, PRICE } from './cell.ts';
import { BACKLOG, BEST_PEERS, BROKER, LOCAL_CELLS, OWN } from './plan.ts';

/** The peer with the highest median of those whose every ledger was exact. */
export function bestPeer(results: readonly Result[], cell: string): string | undefined {
  const exact = BEST_PEERS.filter((arm) => {
    const own = results.filter((result) => result.cell === cell && result.arm === arm);
    return own.length > 0 && own.every(counts);
  });
  const medianOf = (arm: string) => median([...roundsOf(results, cell, arm).values()]);
  return exact.sort((a, b) => medianOf(b) - medianOf(a))[0];
}

type Parts = NonNullable<Result['parts']>;
/** A transaction stands open elsewhere in all parts of a soak but the first and the last. */
const beside = ({ parts = [] }: Result) => parts.slice(1, -1);
const without = ({ parts = [] }: Result) => [...parts.slice(0, 1), ...parts.slice(-1)];
const average = (parts: Parts, figure: (part: Parts[number]) => number) =>
  parts.reduce((sum, part) => sum + figure(part), 0) / parts.length;

/** The goals of the project for its messages, each with what was measured. */
export function goalsOf(results: readonly Result[]): Goal[] {
  const of = (cell: string, arm: string, figure?: (result: Result) => number): Rounds =>
    roundsOf(results, cell, arm, figure);
  const soak = (figure: (result: Result) => number) => roundsOf(results, 'soak', OWN, figure);
  const [own, bare, after] = BROKER_ARMS;
  const p99 = ({ latencies }: Result) => latencies?.p99 ?? Number.NaN;
  return [
    ...LOCAL_CELLS.map((cell) => {
      const peer = bestPeer(results, cell) ?? '';
      const goal = `no broker, ${cell}: of the best peer${peer && ` (${peer})`}`;
      return atLeast(goal, of(cell, OWN), of(cell, peer), cell.startsWith('ordered') ? 2 : 1);
    }),
    ...[BROKER.writers, BROKER.backlog].map((cell) =>
      atLeast(`through the broker, ${cell}: of the bare sidecar`, of(cell, own), of(cell, bare), 0.8),
    ),
    atLeast(
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
    atLeast('a long backlog: of an empty start', of(BACKLOG.long, OWN), of(BACKLOG.empty, OWN), 0.9),
    atLeast(
      'with a transaction open elsewhere: of without',
      of(BACKLOG.open, OWN),
      of(BACKLOG.long, OWN),
      0.8,
    ),
    atLeast(
      'soak, handled a second with a transaction open elsewhere: of without',
      soak((result) => average(beside(result), ({ count }) => count)),
      soak((result) => average(without(result), ({ count }) => count)),
      0.8,
    ),
    judged(
      'soak, median from commit to effect with a transaction open elsewhere: of without',
      'at most 1.2',
      paired(
        soak((result) => average(beside(result), ({ p50 }) => p50)),
        soak((result) => average(without(result), ({ p50 }) => p50)),
        share,
      ),
      ' x',
      (value) => value <= 1.2,
    ),
    judged(
      'soak, longest time with nothing handled while a transaction is open elsewhere',
      'at most 1000 ms',
      [...soak((result) => Math.max(...beside(result).map(({ pause }) => pause))).values()],
      ' ms',
      (value) => value <= 1000,
    ),
  ];
}
