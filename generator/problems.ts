import { genericProblems, type ProblemDefinition } from '@sidecart/kit/problem-definitions';
import type { Output } from './output.ts';
import { importFromService } from './service-modules.ts';
import type { Topology } from './topology.ts';

/** Every problem that a client may meet, under the heading it belongs to. */
export type ProblemsByOwner = { owner: string; definitions: Record<string, ProblemDefinition> }[];

/** Collects the problems of kit and of every service. Two services may share a code only with the same meaning. */
export async function collectProblems(root: string, topology: Topology): Promise<ProblemsByOwner> {
  const services = await Promise.all(
    topology.services.map(async ({ name }) => {
      const module = await importFromService<{ problems: ProblemsByOwner[number]['definitions'] }>(
        root,
        name,
        'problems',
      );
      return { owner: name, definitions: module.problems };
    }),
  );
  return [{ owner: 'Any service', definitions: genericProblems }, ...services];
}

/** What the gateway serves under /problems/{code}. */
export function problemsOutput(topology: Topology, problems: ProblemsByOwner): Output {
  const byCode = Object.assign({}, ...problems.map(({ definitions }) => definitions));
  return {
    path: `services/${topology.edge}/src/problems.generated.json`,
    content: `${JSON.stringify(byCode, null, 2)}\n`,
  };
}
