import { userInfo } from 'node:os';
import { join } from 'node:path';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { isActorName, MAX_ACTOR_LENGTH } from '@sidecart/kit/actor';
import { loadTopology, type Topology } from '../generator/topology.ts';
import { exitWithUsage } from '../local/command-line.ts';
import { complain } from '../local/complaint.ts';
import { CHECKOUT } from '../local/run-paths.ts';
import { ShopError } from '../local/shop-error.ts';
import { clusterServices, localServices, type ServiceAccess } from './service-access.ts';

// What every tool of an operator has in common: which shop is meant, who decides, and what becomes of a fault.

export const text = { type: 'string' } as const;
export const flag = { type: 'boolean' } as const;

export const SHOP_OPTIONS = {
  ...{ service: text, as: text, context: text, namespace: text },
  ...{ kubernetes: flag, help: { type: 'boolean', short: 'h' } },
} satisfies ParseArgsConfig['options'];

export const SHOP_USAGE = `\
  --as NAME         who decides (default: the name of the user here)
  --kubernetes      in the current context's cluster, if that is local by its name, instead of the shop that runs here
  --context NAME    in that cluster, whatever its name
  --namespace NAME  in that namespace (default: that of topology.yaml)
  --help            this text`;

type Options = NonNullable<ParseArgsConfig['options']>;
export type OptionValues<T extends Options> = ReturnType<typeof parseArgs<{ options: T }>>['values'];
type ShopOptions = OptionValues<typeof SHOP_OPTIONS>;

/** Answers whether all went well; with false the exit code is 1. */
export type Command<T extends Options> = (args: string[], o: OptionValues<T>) => Promise<boolean>;

/** By command, what it takes beside what all take; `service` of SHOP_OPTIONS is in here too, as not every command has a use for it. */
export type Takes<T extends Options> = Record<string, readonly (keyof T & string)[]>;

let table: Topology | undefined;
/** Not before a command wants it: a fault in the table is told as any other, and the usage needs none. */
export function topology(): Topology {
  table ??= loadTopology(join(CHECKOUT, 'topology.yaml'));
  return table;
}

/** Of the shop that runs here. */
export const runDir = process.env.SIDECART_RUN_DIR || join(CHECKOUT, '.run');

const opened = new Map<string, ServiceAccess>();

/** The app of a service in the shop that is meant; found once, and let go when the command ends. */
export async function reach(service: string, o: ShopOptions): Promise<{ access: ServiceAccess; as: string }> {
  const as = decider(o);
  const known = opened.get(service);
  if (known) return { access: known, as };
  const find =
    o.kubernetes || o.context !== undefined
      ? clusterServices(topology(), { context: o.context, namespace: o.namespace ?? topology().namespace })
      : localServices(runDir);
  const access = await find(service);
  opened.set(service, access);
  return { access, as };
}

/**
 * The name under which a decision is kept.
 * @throws ShopError for one that no service would keep.
 */
export function decider({ as = userInfo().username }: ShopOptions): string {
  if (isActorName(as)) return as;
  const { length } = [...as];
  throw new ShopError(
    length > MAX_ACTOR_LENGTH
      ? `a name of ${length} characters is too long to be kept`
      : `${JSON.stringify(as)} is no name of somebody who decides`,
    `give one of 1 to ${MAX_ACTOR_LENGTH} characters in one line with --as NAME`,
  );
}

/**
 * What each of the services answers; one that has nothing to say answers undefined. Who cannot be asked is told of, and then
 * `complete` is false.
 * @throws ShopError of the first that could not be asked, when nobody has answered.
 */
export async function askEach<T>(
  services: readonly string[],
  ask: (service: string) => Promise<T | undefined>,
): Promise<{ answers: T[]; complete: boolean }> {
  const answers: T[] = [];
  const away: { service: string; error: ShopError }[] = [];
  for (const service of services) {
    try {
      const answer = await ask(service);
      if (answer !== undefined) answers.push(answer);
    } catch (error) {
      if (!(error instanceof ShopError)) throw error;
      away.push({ service, error });
    }
  }
  const [first] = away;
  if (first && answers.length === 0) throw first.error;
  for (const { service, error } of away)
    console.error(`${service} is left out: ${error.message}\nCure: ${error.cure}`);
  return { answers, complete: away.length === 0 };
}

/** Runs the command that the process was called with. */
export async function runCommand<T extends Options & typeof SHOP_OPTIONS>(
  usage: string,
  options: T,
  commands: Record<string, Command<T>>,
  takes: Takes<T>,
): Promise<void> {
  const { values, positionals } = readArguments(usage, options);
  const [name = '', ...args] = positionals;
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if ((values as ShopOptions).help) {
    console.log(usage);
    return;
  }
  if (!command) exitWithUsage(name === '' ? 'Name a command' : `Unknown command '${name}'`, usage);
  refuseOthers(name, values, takes[name] ?? [], usage);
  try {
    decider(values as ShopOptions); // at once, and not for each service or dead letter anew
    process.exitCode = (await command(args, values)) ? 0 : 1;
  } catch (err) {
    complain(err);
  } finally {
    for (const access of opened.values()) access.close();
  }
}

/** An option that a command has no use for is refused: who gave it expects another choice than the one that would be made. */
export function refuseOthers(command: string, given: object, takes: readonly string[], usage: string): void {
  const { service: _, ...ofAll } = SHOP_OPTIONS;
  const other = Object.keys(given).find((name) => !(name in ofAll) && !takes.includes(name));
  if (other !== undefined) exitWithUsage(`${command} takes no --${other}`, usage);
}

function readArguments<T extends Options>(usage: string, options: T) {
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch (err) {
    return exitWithUsage((err as Error).message, usage);
  }
}
