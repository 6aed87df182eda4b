import { serveCell } from '../cells/cell-child.ts';
import { benchAppend } from './append.ts';
import type { CellJob } from './cell.ts';
import { benchCondense } from './condense.ts';
import { benchLoad } from './load.ts';
import { benchRebuild } from './rebuild.ts';

// The process of one cell.

await serveCell<CellJob>((job, mark) => {
  switch (job.kind) {
    case 'append':
      return benchAppend(job, mark);
    case 'load':
      return benchLoad(job, mark);
    case 'rebuild':
      return benchRebuild(job, mark);
    case 'condense':
      return benchCondense(job);
  }
});
