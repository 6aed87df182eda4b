import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHECKOUT } from '../../local/run-paths.ts';

/** Folders with the sources of the packages whose code a program runs: found by its imports, not by what package.json says. */
export function importedPackages(sources: string, found = new Set<string>()): Set<string> {
  for (const file of globSync(`${sources}/**/*.ts`, { cwd: CHECKOUT })) {
    if (/\.test\.ts$|\/(testing|fixture[^/]*)\.ts$/.test(file)) continue;
    const text = readFileSync(join(CHECKOUT, file), 'utf8');
    for (const [, name] of text.matchAll(/from '@sidecart\/([^/']+)\//g)) {
      const next = `packages/${name}/src`;
      if (found.has(next)) continue;
      found.add(next);
      importedPackages(next, found);
    }
  }
  return found;
}
