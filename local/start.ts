import { join } from 'node:path';
import { loadTopology } from '../generator/topology.ts';
import { exitWithUsage, optionsOrExit } from './command-line.ts';
import { consoleReport } from './console-report.ts';
import { requireMachine, thisMachine } from './machine.ts';
import { readReplicas } from './plan.ts';
import { CHECKOUT } from './run-paths.ts';
import { killShop, type Shop, startShop } from './shop.ts';
import { onStopSignals } from './stop-signals.ts';
import { renderTable, shopRows } from './table.ts';

const USAGE = `npm start [-- options]

  --fresh               begin anew, without the data and secrets of the last start
  --replicas NAME=N     run N processes of a service; may be repeated
  --broker NAME         this time on this broker, instead of the one in topology.yaml
  --help                this text

Environment: SIDECART_RUN_DIR (default .run), SIDECART_PORT_<NAME> (a port, e.g. SIDECART_PORT_GATEWAY).`;

const runDir = process.env.SIDECART_RUN_DIR || join(CHECKOUT, '.run');
const output = consoleReport(process.stdout);
// The terminal may be closed at any moment; what is then said to nobody must not keep anything from being stopped.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const givenUp = new AbortController();
let shop: Shop | undefined;
let exitCode = 0;

async function main(): Promise<void> {
  const options = readOptions();
  onStopSignals({
    first(signal) {
      output.print(`\n${signal}: stopping in order; once more ends everything at once.`);
      void stop(shop ? 0 : 130);
    },
    again() {
      killShop(runDir);
      process.exit(130);
    },
  });
  for (const event of ['uncaughtException', 'unhandledRejection'])
    process.on(event, (err) => {
      complain(err);
      // One that fails as well would be the next unhandled rejection, and so on without end.
      stop(1).catch(() => {
        killShop(runDir);
        process.exit(1);
      });
    });
  await requireMachine(thisMachine(options.broker));
  const startedAt = performance.now();
  shop = await startShop({ runDir, ...options, signal: givenUp.signal, progress: output.report });
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  const rows = await shopRows(shop.processes(), process.pid);
  output.finish();
  output.print(`\n${renderTable(rows)}`);
  output.print(
    `\nReady after ${seconds} s at ${shop.gatewayUrl} (logs: ${join(runDir, 'logs')}). Ctrl-C stops it.`,
  );
  output.print('Next, in another terminal: npm run demo');
}

async function stop(code: number): Promise<void> {
  exitCode ||= code;
  givenUp.abort(new Error('stopped before it was ready'));
  await shop?.stop();
  if (shop) process.exit(exitCode);
}

/** Before anything is touched: a start with a slip of the pen in it must not remove data for the sake of its `--fresh`. */
function readOptions(): { fresh: boolean; broker: string; replicas: Record<string, number> } {
  const given = optionsOrExit(USAGE, {
    fresh: { type: 'boolean', default: false },
    replicas: { type: 'string', multiple: true, default: [] },
    broker: { type: 'string' },
  });
  const topology = loadTopology(join(CHECKOUT, 'topology.yaml'));
  const read = readReplicas(
    given.replicas,
    topology.services.map(({ name }) => name),
  );
  if ('fault' in read) return exitWithUsage(read.fault, USAGE);
  return { fresh: given.fresh, broker: given.broker ?? topology.broker, replicas: read.counts };
}

function complain(err: unknown): void {
  const { message, stack, cure } = err as Error & { cure?: string };
  process.stderr.write(cure ? `${message}\nCure: ${cure}\n` : `${stack ?? message ?? String(err)}\n`);
}

try {
  await main();
} catch (err) {
  output.finish();
  if (err !== givenUp.signal.reason) complain(err);
  process.exit(exitCode || 1);
}
