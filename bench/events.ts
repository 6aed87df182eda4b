import { join } from 'node:path';
import { CHECKOUT } from '../local/run-paths.ts';
import { benchOptions } from './cells/bench-options.ts';
import { openResults } from './cells/results.ts';
import { runRounds } from './cells/rounds.ts';
import { withServer } from './cells/with-server.ts';
import { GROUPS, planOf, type Settings } from './events/plan.ts';
import { reportOf } from './events/report.ts';
import { bundleCells, runCell } from './events/run-cell.ts';
import { machineLine } from './machine.ts';

const USAGE = `npm run bench -- events [options]

Append, load, rebuild of a read model and condensing: this project, emmett on PostgreSQL, and the same tables by postgres.js
alone. All on one PostgreSQL with fsync on, each cell in a database and a process of its own. A run that is ended goes on
where it was when the same command is given again.

  --full         five rounds with cells of 10 s, a million events rebuilt (90 min); without it one round with cells of 3 s (5 min)
  --rounds N     how often every arm runs every cell
  --seconds N    how long appends and loads are measured
  --events N     of the rebuild
  --streams N    of 10,000 events that are condensed
  --only GROUPS  of ${GROUPS.join(', ')}; several with commas
  --fresh        forget what an earlier run has found
  --report       only print what there is
  --help         this text`;

const QUICK = { rounds: '1', seconds: '3', events: '100000', streams: '5' };
const FULL = { rounds: '5', seconds: '10', events: '1000000', streams: '40' };

/** `npm run bench -- events`. */
export async function benchEvents(): Promise<void> {
  const o = benchOptions(USAGE, { quick: QUICK, full: FULL, groups: GROUPS });
  const settings: Settings = o.numbers;
  const file = join(CHECKOUT, '.run', `bench-events-${o.full ? 'full' : 'quick'}.jsonl`);
  const results = openResults(file, settings, o);
  if (!o.report) {
    const program = bundleCells();
    let cells = 0;
    await withServer({}, (server, _folder, stop) =>
      runRounds({
        rounds: settings.rounds,
        cells: planOf(settings).filter(({ group }) => o.only.includes(group)),
        results,
        stop,
        run({ job }, arm) {
          cells += 1;
          return runCell(server, job(arm), `cell_${cells}`, program);
        },
      }),
    );
  }
  const { rounds, seconds, events } = settings;
  console.log(`\n${machineLine()}; ${rounds} rounds, cells of ${seconds} s, ${events} events rebuilt\n`);
  console.log(reportOf(results.all()));
}
