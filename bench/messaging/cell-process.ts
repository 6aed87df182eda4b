import { serveCell } from '../cells/cell-child.ts';
import { throughBroker } from './broker-kinds.ts';
import type { CellJob } from './cell.ts';
import { benchBursts, beside, drainBacklog, race, soak } from './cell-kinds.ts';
import { price } from './price.ts';
import { raw } from './raw.ts';

// The process of one cell.

await serveCell<CellJob>((job, mark) => {
  switch (job.kind) {
    case 'race':
      return race(job, mark);
    case 'backlog':
      return drainBacklog(job, mark);
    case 'bursts':
      return benchBursts(job);
    case 'soak':
      return soak(job, mark);
    case 'beside':
      return beside(job, mark);
    case 'raw':
      return raw(job, mark);
    case 'price':
      return price(job, mark);
    case 'broker':
      return throughBroker(job, mark);
  }
});
