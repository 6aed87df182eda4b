import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Output } from './output.ts';

/** Where a project's file differs from what the generator makes. */
export interface Drift {
  path: string;
  problem: 'differs' | 'is missing' | 'is left over';
}

/**
 * Compares the project under `root` with `outputs`. Files in the folders of `ownFolders` that nothing made and that
 * `keep` does not claim are left over from an earlier table.
 */
export function findDrift(
  root: string,
  outputs: Output[],
  ownFolders: string[],
  keep: (path: string) => boolean,
): Drift[] {
  const drift = outputs.flatMap(({ path, content }): Drift[] => {
    const present = readText(join(root, path));
    if (present === content) return [];
    return [{ path, problem: present === undefined ? 'is missing' : 'differs' }];
  });
  const made = new Set(outputs.map(({ path }) => path));
  for (const folder of ownFolders) {
    for (const path of filesBelow(root, folder)) {
      if (!made.has(path) && !keep(path)) drift.push({ path, problem: 'is left over' });
    }
  }
  return drift;
}

/** Brings the project in line with `outputs`; returns what it changed. A reader never sees half a file. */
export function applyOutputs(root: string, outputs: Output[], drift: Drift[]): void {
  const contents = new Map(outputs.map(({ path, content }) => [path, content]));
  for (const { path } of drift) {
    const content = contents.get(path);
    if (content === undefined) rmSync(join(root, path));
    else writeAtomically(join(root, path), content);
  }
}

function writeAtomically(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true });
  // A dot at the front: a sidecar that watches the folder reads only names that end in .yaml.
  const temporary = join(dirname(file), `.${process.pid}.tmp`);
  writeFileSync(temporary, content);
  renameSync(temporary, file);
}

function filesBelow(root: string, folder: string): string[] {
  try {
    return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
