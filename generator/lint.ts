import type { Topology } from './topology.ts';
export function lintProject(_root: string, _topology: Topology): string[] {
  return [];
}
