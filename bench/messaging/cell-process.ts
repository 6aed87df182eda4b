import { once } from 'node:events';
import { throughBroker } from './broker-kinds.ts';
import type { CellJob, CellOutcome, FromCell } from './cell.ts';
import { benchBursts, drainBacklog, race, soak } from './cell-kinds.ts';
import { price } from './price.ts';
import { raw } from './raw.ts';

// The process of one cell: fresh for each, so that no arm inherits another one's compiled code, connections or heap.

const tell = (message: FromCell) => new Promise<void>((done) => process.send?.(message, () => done()));

/** Tells the parent that measuring begins or ends, and goes on once it has read its meters. */
async function mark(which: 'begin' | 'end'): Promise<void> {
  const answered = once(process, 'message');
  await tell({ mark: which });
  await answered;
}

function run(job: CellJob): Promise<CellOutcome> {
  switch (job.kind) {
    case 'race':
      return race(job, mark);
    case 'backlog':
      return drainBacklog(job, mark);
    case 'bursts':
      return benchBursts(job);
    case 'soak':
      return soak(job, mark);
    case 'raw':
      return raw(job, mark);
    case 'price':
      return price(job, mark);
    case 'broker':
      return throughBroker(job, mark);
  }
}

const [job] = (await once(process, 'message')) as [CellJob];
try {
  await tell({ outcome: await run(job) });
} catch (err) {
  // The message of a failed query has the whole query in it, parameters included.
  const reasons = [err, err instanceof Error ? err.cause : undefined].filter((one) => one instanceof Error);
  await tell({
    error:
      reasons.map(({ message }) => message.replaceAll(/\s+/g, ' ').slice(0, 150)).join(' | ') || String(err),
  });
}
process.exit(0);
