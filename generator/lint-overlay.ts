import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { Topology } from './topology.ts';

/** Those that the project ships. A copy of one may be for another namespace. */
const OVERLAYS = ['local', 'production'];

/** The overlays bring the shop where the table says, which is where every command of the project looks for it. */
export function overlayFaults(root: string, { namespace }: Pick<Topology, 'namespace'>): string[] {
  return OVERLAYS.flatMap((name) => {
    const path = `k8s/overlays/${name}/kustomization.yaml`;
    const found = (parse(readFileSync(join(root, path), 'utf8')) as { namespace?: string }).namespace;
    if (found === namespace) return [];
    return [
      `${path}: namespace is ${found ?? 'not given'}, and ${namespace} in topology.yaml. Write namespace: ${namespace} here, or the other there.`,
    ];
  });
}
