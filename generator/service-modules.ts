import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Topology } from './topology.ts';

/** Imports services/<name>/src/<file>.ts: it must do no I/O on import. */
export async function importFromService<T>(root: string, name: string, file: string): Promise<T> {
  const path = join('services', name, 'src', `${file}.ts`);
  if (!existsSync(join(root, path)))
    throw new Error(`${path} is missing: every service in topology.yaml has one`);
  return (await import(pathToFileURL(join(root, path)).href)) as T;
}

/** The edge's code imports what is generated last; on a first run it must find something. */
export function ensureEdgeCanBeImported(root: string, { edge }: Topology): void {
  for (const file of ['openapi.generated.json', 'problems.generated.json']) {
    const path = join(root, 'services', edge, 'src', file);
    if (!existsSync(path)) writeFileSync(path, '{}\n');
  }
}
