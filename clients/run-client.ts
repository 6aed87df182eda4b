import { type ParseArgsConfig, parseArgs } from 'node:util';
import { onStopSignals } from '../local/stop-signals.ts';
import { InterruptedError, UserError } from './errors.ts';
import { GatewayUnreachableError, RefusedError } from './gateway-client.ts';

/** How a client is called. `--url` and `--help` are understood by all of them. */
export interface ClientUsage {
  usage: string;
  takesFile: boolean;
  /** Names of further options; each takes a value. */
  options: readonly string[];
  /** Said after a Ctrl-C. */
  whenStopped: string;
}

export interface ClientArguments {
  /** As typed; empty for a client that takes none. */
  file: string;
  options: Readonly<Record<string, string | undefined>>;
}

/**
 * Runs a client as the main program: arguments, Ctrl-C and exit codes. `main` resolves to true when all is as it
 * should be (exit 0) and to false when it has said what is not (exit 1). Wrong arguments exit 2, an
 * interruption, which aborts `signal`, 130; a second Ctrl-C ends the process at once.
 */
export async function runClient(
  call: ClientUsage,
  main: (given: ClientArguments, signal: AbortSignal) => Promise<boolean>,
): Promise<void> {
  const given = readArguments(call, process.argv.slice(2));
  if ('say' in given) {
    (given.exitCode === 0 ? console.log : console.error)(given.say);
    process.exitCode = given.exitCode;
    return;
  }
  const controller = new AbortController();
  onStopSignals({
    first: () => controller.abort(new InterruptedError('interrupted')),
    again: () => process.exit(130),
  });
  // The reader of a pipe, as in `npm run demo | head`, may be gone before all is said.
  process.stdout.once('error', () => process.exit(1));
  try {
    process.exitCode = (await main(given, controller.signal)) ? 0 : 1;
  } catch (error) {
    const interrupted = controller.signal.aborted;
    process.exitCode = interrupted ? 130 : 1;
    if (interrupted) console.error(call.whenStopped);
    else console.error(isForPeople(error) ? error.message : error);
  } finally {
    // What is still under way after a failure would keep the process alive.
    controller.abort();
  }
}

/** The arguments, or what to say, and with which exit code, in place of running. */
export function readArguments(
  call: ClientUsage,
  argv: string[],
): ClientArguments | { say: string; exitCode: number } {
  try {
    const { values, positionals } = parseArgs({
      args: argv,
      options: optionsOf(call),
      allowPositionals: true,
    });
    if (values.help) return { say: call.usage, exitCode: 0 };
    const wanted = call.takesFile ? 1 : 0;
    if (positionals.length !== wanted) {
      const fault = `Expected ${call.takesFile ? 'one file' : 'no argument'}, got ${positionals.length}.`;
      return { say: `${fault}\n\n${call.usage}`, exitCode: 2 };
    }
    return { file: positionals[0] ?? '', options: values as Record<string, string> };
  } catch (error) {
    return { say: `${(error as Error).message}\n\n${call.usage}`, exitCode: 2 };
  }
}

/** Whether its message says all that a person at the keyboard needs. */
export function isForPeople(error: unknown): error is Error {
  return (
    error instanceof UserError || error instanceof RefusedError || error instanceof GatewayUnreachableError
  );
}

function optionsOf(call: ClientUsage): NonNullable<ParseArgsConfig['options']> {
  const valued = [...call.options, 'url'].map((name) => [name, { type: 'string' as const }] as const);
  return { ...Object.fromEntries(valued), help: { type: 'boolean', short: 'h' } };
}
