import { join } from 'node:path';
import { CHECKOUT } from '../local/run-paths.ts';
import { benchOptions } from './cells/bench-options.ts';
import { rate } from './cells/figures.ts';
import { openResults, type Results } from './cells/results.ts';
import { runRounds } from './cells/rounds.ts';
import { withServer } from './cells/with-server.ts';
import { machineLine } from './machine.ts';
import { type BrokerRig, startBroker } from './messaging/broker.ts';
import { GROUPS, planOf, type Settings } from './messaging/plan.ts';
import { reportOf } from './messaging/report.ts';
import { bundleCells, runCell } from './messaging/run-cell.ts';

const USAGE = `npm run bench -- messaging [options]

Messages from a committed transaction to their effect: this project, the well-known queues on PostgreSQL, and the bare
parts. All on one PostgreSQL with fsync on, each cell in a database and a process of its own. A run that is ended goes on
where it was when the same command is given again.

  --full         five rounds with cells of 10 s, a backlog of a million, every peer at its defaults too, a soak (100 min);
                 without it one round with cells of 1 s (8 min)
  --rounds N     how often every arm runs every cell
  --seconds N    how long a cell is measured
  --backlog N    messages of the long backlog
  --soak MINUTES a steady load for so long, 0 for none
  --only GROUPS  of ${GROUPS.join(', ')}; several with commas
  --fresh        forget what an earlier run has found
  --report       only print what there is
  --help         this text`;

const QUICK = { rounds: '1', seconds: '1', backlog: '50000', soak: '0' };
const FULL = { rounds: '5', seconds: '10', backlog: '1000000', soak: '15' };

/** pg-transactional-outbox needs logical decoding. */
const LOGICAL = { wal_level: 'logical', max_wal_senders: '4', max_replication_slots: '4' };

/** `npm run bench -- messaging`. */
export async function benchMessaging(): Promise<void> {
  const o = benchOptions(USAGE, { quick: QUICK, full: FULL, groups: GROUPS });
  const { rounds, seconds, backlog, soak } = o.numbers;
  const settings: Settings = { rounds, seconds, backlog, soakMinutes: soak, defaults: o.full };
  const file = join(CHECKOUT, '.run', `bench-messaging-${o.full ? 'full' : 'quick'}.jsonl`);
  const results = openResults(file, settings, o);
  if (!o.report) await run(settings, o.only, results);
  console.log(`\n${machineLine()}; ${settings.rounds} rounds, cells of ${settings.seconds} s\n`);
  console.log(reportOf(results.all()));
}

async function run(settings: Settings, only: string[], results: Results): Promise<void> {
  const program = bundleCells();
  let rig: BrokerRig | undefined;
  const stopRig = async () => {
    await rig?.stop();
    rig = undefined;
  };
  await withServer({ settings: LOGICAL, leave: stopRig }, (server, folder, stop) =>
    runRounds({
      rounds: settings.rounds,
      cells: planOf(settings).filter(({ group }) => only.includes(group)),
      results,
      stop,
      // Only as long as it is needed: even idle sidecars take some of two cores.
      async before({ group }, round) {
        if (group === 'broker') rig ??= await startBroker(join(folder, `rig-${round}`));
        else await stopRig();
      },
      afterRound: stopRig,
      run({ job, openTransaction }, arm) {
        const known = {
          ...(rig && { place: rig.place }),
          rate: (cell: string, who: string) => latestRate(results, cell, who),
        };
        const about = { program, openTransaction, processes: rig?.processes };
        return runCell(server, job(arm, known), `cell_${nextCell()}`, about);
      },
    }),
  );
}

let cellsSoFar = 0;
function nextCell(): number {
  cellsSoFar += 1;
  return cellsSoFar;
}

function latestRate(results: Results, cell: string, arm: string): number | undefined {
  const found = results.all().filter((one) => one.cell === cell && one.arm === arm && !one.failed);
  const last = found.sort((a, b) => a.round - b.round).at(-1);
  return last && rate(last);
}
