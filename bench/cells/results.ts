import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { CellRun } from './outcome.ts';

/** What one arm did in one cell, once. */
export interface Result extends CellRun {
  cell: string;
  arm: string;
  round: number;
  /** It came to no result; asked for again when the run goes on. */
  failed?: true;
}

/** The results of a run, on disk after every cell, so that a run that was ended goes on where it was. */
export interface Results {
  all(): readonly Result[];
  has(cell: string, arm: string, round: number): boolean;
  add(result: Result): void;
}

/** @throws Error when the file is of a run with other settings. */
export function openResults(file: string, settings: object, o: { fresh: boolean }): Results {
  if (o.fresh) rmSync(file, { force: true });
  const head = JSON.stringify(settings);
  if (!existsSync(file)) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${head}\n`);
  }
  const found = parseResults(readFileSync(file, 'utf8'), head);
  if (!found) {
    throw new Error(
      `${file} is of a run with other settings; --fresh begins anew, the options of that run go on with it`,
    );
  }
  return {
    all: () => [...found.values()],
    has(cell, arm, round) {
      const result = found.get(nameOf({ cell, arm, round }));
      return result !== undefined && !result.failed;
    },
    add(result) {
      appendFileSync(file, `${JSON.stringify(result)}\n`);
      found.set(nameOf(result), result);
    },
  };
}

const nameOf = ({ cell, arm, round }: Pick<Result, 'cell' | 'arm' | 'round'>) => `${cell}|${arm}|${round}`;

/** By cell, arm and round, the last of each; undefined when the first line is not `head`. */
export function parseResults(text: string, head: string): Map<string, Result> | undefined {
  // What was being written when the run was ended is no line.
  const [first, ...lines] = text.split('\n').slice(0, -1);
  if (first !== head) return undefined;
  return new Map(lines.map((line) => JSON.parse(line) as Result).map((result) => [nameOf(result), result]));
}
