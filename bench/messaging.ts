import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exitWithUsage, optionsOrExit } from '../local/command-line.ts';
import { removePostgresData } from '../local/postgres-place.ts';
import { CHECKOUT } from '../local/run-paths.ts';
import { machineLine } from './machine.ts';
import { type BrokerRig, startBroker } from './messaging/broker.ts';
import { rate } from './messaging/goals.ts';
import { GROUPS, type Group, type PlannedCell, planOf, rotated, type Settings } from './messaging/plan.ts';
import { reportOf } from './messaging/report.ts';
import { openResults, type Result, type Results } from './messaging/results.ts';
import { bundleCells, runCell } from './messaging/run-cell.ts';
import { type Server, startServer } from './messaging/server.ts';

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

/** `npm run bench -- messaging`. */
export async function benchMessaging(): Promise<void> {
  const { settings, only, fresh, report, full } = readOptions();
  const file = join(CHECKOUT, '.run', `bench-messaging-${full ? 'full' : 'quick'}.jsonl`);
  const results = openResults(file, settings, { fresh });
  if (!report) await run(settings, only, results);
  console.log(`\n${machineLine()}; ${settings.rounds} rounds, cells of ${settings.seconds} s\n`);
  console.log(reportOf(results.all()));
}

function readOptions() {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const numbers = { rounds: text, seconds: text, backlog: text, soak: text } as const;
  const options = { ...numbers, only: text, full: flag, fresh: flag, report: flag } as const;
  const given = optionsOrExit(USAGE, options, process.argv.slice(3));
  const form = given.full ? FULL : QUICK;
  const number = (name: keyof typeof FULL) => {
    const value = given[name] ?? form[name];
    if (!/^\d{1,8}$/.test(value)) exitWithUsage(`--${name} ${value}: write a whole number`, USAGE);
    return Number(value);
  };
  const only = given.only?.split(',') ?? [...GROUPS];
  const unknown = only.find((name) => !GROUPS.includes(name as Group));
  if (unknown !== undefined) exitWithUsage(`--only ${unknown}: there is no such group`, USAGE);
  const settings: Settings = {
    rounds: number('rounds'),
    seconds: number('seconds'),
    backlog: number('backlog'),
    soakMinutes: number('soak'),
    defaults: given.full,
  };
  return { settings, only, fresh: given.fresh, report: given.report, full: given.full };
}

async function run(settings: Settings, only: string[], results: Results): Promise<void> {
  const program = bundleCells();
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-bench-'));
  const server = await startServer(folder);
  let rig: BrokerRig | undefined;
  const leave = async () => {
    await rig?.stop();
    await server.stop();
    removePostgresData(join(folder, 'data'));
    rmSync(folder, { recursive: true, force: true });
  };
  // Ctrl-C in the middle of it leaves nothing behind either.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void leave().then(() => process.exit(130)));
  const cells = planOf(settings).filter(({ group }) => only.includes(group));
  try {
    for (let round = 0; round < settings.rounds; round += 1) {
      for (const planned of cells.filter(({ once }) => !once || round === 0)) {
        const left = rotated(planned.arms, round).filter((arm) => !results.has(planned.cell, arm, round));
        if (left.length === 0) continue;
        // Only as long as it is needed: even idle sidecars take some of two cores.
        if (planned.group === 'broker') rig ??= await startBroker(join(folder, `rig-${round}`));
        else {
          await rig?.stop();
          rig = undefined;
        }
        for (const arm of left) await runOne({ planned, arm, round, program, server, rig, results });
      }
      await rig?.stop();
      rig = undefined;
    }
  } finally {
    await leave();
  }
}

interface One {
  planned: PlannedCell;
  arm: string;
  round: number;
  program: string;
  server: Server;
  rig: BrokerRig | undefined;
  results: Results;
}

/** One arm in one cell. What goes wrong there is a result too, and the run goes on. */
async function runOne({ planned, arm, round, program, server, rig, results }: One): Promise<void> {
  const { cell, openTransaction } = planned;
  const known = {
    ...(rig && { place: rig.place }),
    rate: (of: string, who: string) => latestRate(results, of, who),
  };
  const about = { cell, arm, round };
  let result: Result;
  try {
    const job = planned.job(arm, known);
    const outcome = await runCell(server, job, `cell_${nextCell()}`, {
      program,
      openTransaction,
      processes: rig?.processes,
    });
    result = { ...about, ...outcome };
  } catch (err) {
    const faults = [`it failed: ${(err as Error).message}`];
    result = { ...about, count: 0, seconds: 1, faults, cpu: {}, walBytes: 0, failed: true };
  }
  results.add(result);
  const verdict = result.faults.length > 0 ? `, DOES NOT COUNT: ${result.faults.join('; ')}` : '';
  console.error(`round ${round + 1}, ${cell}, ${arm}: ${rate(result).toFixed(0)}/s${verdict}`);
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
