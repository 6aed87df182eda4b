import { type ParseArgsConfig, parseArgs } from 'node:util';

type Options = NonNullable<ParseArgsConfig['options']>;
type Values<T extends Options> = ReturnType<typeof parseArgs<{ options: T }>>['values'];

/**
 * The options that a script was called with. `--help` prints the usage and ends the process; anything that is no
 * option of the script ends it too, before it has done anything, with what is wrong, the usage and exit code 2.
 */
export function optionsOrExit<T extends Options>(
  usage: string,
  options: T,
  args: string[] = process.argv.slice(2),
): Values<T> {
  const values = parseOrExit(usage, { ...options, help: { type: 'boolean', short: 'h' } }, args);
  if (values.help) {
    console.log(usage);
    process.exit(0);
  }
  return values as Values<T>;
}

/** Ends the process as after any wrong argument. */
export function exitWithUsage(fault: string, usage: string): never {
  console.error(`${fault}\n\n${usage}`);
  process.exit(2);
}

/** What an option gives, if it is a whole number from `least` to `most`; else ends the process as after any wrong argument. */
export function wholeNumberOrExit(
  given: string,
  name: string,
  o: { usage: string; least: number; most?: number },
): number {
  const value = Number(given);
  const { least, most = Number.MAX_SAFE_INTEGER } = o;
  if (given !== '' && Number.isInteger(value) && value >= least && value <= most) return value;
  const range = o.most === undefined ? `of ${least} or more` : `from ${least} to ${most}`;
  return exitWithUsage(`${name} wants a whole number ${range}, not '${given}'`, o.usage);
}

function parseOrExit(usage: string, options: Options, args: string[]) {
  try {
    return parseArgs({ options, args }).values;
  } catch (err) {
    // What follows the first sentence is about arguments that none of the scripts takes.
    const [fault] = (err as Error).message.split(/\. (?=[A-Z])/);
    return exitWithUsage(fault ?? '', usage);
  }
}
