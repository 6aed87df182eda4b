import { once } from 'node:events';
import { percentile } from '../statistics.ts';
import type { CellOutcome, FromCell, Latencies, Mark } from './outcome.ts';

const tell = (message: FromCell) => new Promise<void>((done) => process.send?.(message, () => done()));

/**
 * Runs the one cell that the parent asks for, and ends the process: fresh for each, so that no arm inherits another one's compiled code,
 * connections or heap.
 */
export async function serveCell<Job>(run: (job: Job, mark: Mark) => Promise<CellOutcome>): Promise<never> {
  const mark: Mark = async (which) => {
    const answered = once(process, 'message');
    await tell({ mark: which });
    await answered;
  };
  const [job] = (await once(process, 'message')) as [Job];
  try {
    await tell({ outcome: await run(job, mark) });
  } catch (err) {
    // The message of a failed query has the whole query in it, parameters included.
    const reasons = [err, err instanceof Error ? err.cause : undefined].filter((one) => one instanceof Error);
    const texts = reasons.map(({ message }) => message.replaceAll(/\s+/g, ' ').slice(0, 150));
    await tell({ error: texts.join(' | ') || String(err) });
  }
  process.exit(0);
}

/** How long an arm runs before it is measured, so that what it does is compiled and its connections are open. */
export const warmMs = (ms: number) => Math.min(3000, Math.max(1000, ms / 3));

export function shares(samples: number[]): Latencies {
  return {
    p50: percentile(samples, 0.5),
    p99: percentile(samples, 0.99),
    p999: percentile(samples, 0.999),
  };
}
