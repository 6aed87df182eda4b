import { ProgramError } from './errors.ts';
import { type Found, findInstalled, type Program } from './find.ts';
import { INSTALLED, type InstalledName } from './pins.ts';

/**
 * A program of the system's own packages: the path given by environment, or a fitting one on PATH.
 * @throws ProgramError with what was seen and how to install it.
 */
export async function ensureInstalled(name: InstalledName, env: NodeJS.ProcessEnv): Promise<Program> {
  const looked = await findInstalled(name, env);
  if (looked.found === undefined) throw notInstalled(name, looked);
  return looked.found;
}

function notInstalled(name: InstalledName, { passedOver }: Found): ProgramError {
  const { binary, accepts, pathEnv, install } = INSTALLED[name];
  return new ProgramError(
    [`${binary} ${accepts} is not on PATH`, ...passedOver.map((line) => `  - ${line}`)].join('\n'),
    `${install}, or set ${pathEnv} to one`,
  );
}
