import { exitWithUsage, optionsOrExit } from '../../local/command-line.ts';

export interface BenchOptions<Name extends string> {
  numbers: Record<Name, number>;
  /** Groups of cells. */
  only: string[];
  full: boolean;
  fresh: boolean;
  report: boolean;
}

/** Options of a bench of several rounds: its numbers, by default those of the quick or of the full form, and the flags that all have. */
export function benchOptions<Name extends string>(
  usage: string,
  o: { quick: Record<Name, string>; full: Record<Name, string>; groups: readonly string[] },
): BenchOptions<Name> {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const names = Object.keys(o.quick) as Name[];
  const numberOptions = Object.fromEntries(names.map((name) => [name, text]));
  const options = { ...numberOptions, only: text, full: flag, fresh: flag, report: flag } as const;
  const given = optionsOrExit(usage, options, process.argv.slice(3)) as Record<string, unknown>;
  const form = given.full ? o.full : o.quick;
  const number = (name: Name) => {
    const value = String(given[name] ?? form[name]);
    if (!/^\d{1,8}$/.test(value)) exitWithUsage(`--${name} ${value}: write a whole number`, usage);
    return Number(value);
  };
  const only = given.only === undefined ? [...o.groups] : String(given.only).split(',');
  const unknown = only.find((name) => !o.groups.includes(name));
  if (unknown !== undefined) exitWithUsage(`--only ${unknown}: there is no such group`, usage);
  return {
    numbers: Object.fromEntries(names.map((name) => [name, number(name)])) as Record<Name, number>,
    only,
    full: given.full === true,
    fresh: given.fresh === true,
    report: given.report === true,
  };
}
