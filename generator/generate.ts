import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { optionsOrExit } from '../local/command-line.ts';
import { complain } from '../local/complaint.ts';
import { ShopError } from '../local/shop-error.ts';
import { catalogFaults } from './contracts.ts';
import { problemsDocument } from './docs.ts';
import { lintProject } from './lint.ts';
import { collectOpenApi, operationFaults, publicOpenApi } from './openapi.ts';
import type { Output } from './output.ts';
import { collectProblems, problemsOutput } from './problems.ts';
import { missingSamples, sampleFaults } from './samples.ts';
import { ensureEdgeCanBeImported } from './service-modules.ts';
import { isTemplate, OWN_FOLDERS, tableOutputs } from './table-outputs.ts';
import { loadTopology, type Topology } from './topology.ts';
import { applyOutputs, findDrift } from './write.ts';

const USAGE = `npm run generate [-- options]

Writes everything that repeats topology.yaml or the contracts, then lints the Dapr files.

  --check    only say which files are not what it would write
  --help     this text`;

async function serviceOutputs(
  root: string,
  topology: Topology,
): Promise<{ outputs: Output[]; faults: string[] }> {
  const problems = await collectProblems(root, topology);
  const documents = await collectOpenApi(root, topology);
  return {
    outputs: [
      problemsDocument(problems),
      problemsOutput(topology, problems),
      publicOpenApi(topology, documents),
    ],
    faults: operationFaults(topology, documents),
  };
}

async function generate(root: string, check: boolean): Promise<string[]> {
  const topology = loadTopology(join(root, 'topology.yaml'));
  const faults = catalogFaults(topology);
  const settle = (outputs: Output[], ownFolders: string[]) => {
    const drift = findDrift(root, outputs, ownFolders, isTemplate);
    if (check)
      return drift.map(
        ({ path, problem }) => `${path} ${problem}. Run npm run generate and commit what it changes.`,
      );
    applyOutputs(root, outputs, drift);
    for (const { path, problem } of drift)
      console.log(`${problem === 'is left over' ? 'removed' : 'wrote'} ${path}`);
    return [];
  };
  // First what the services' code imports, then what is made by importing it: from outdated code that would mislead.
  faults.push(...settle(tableOutputs(root, topology), OWN_FOLDERS));
  faults.push(...settle(missingSamples(root, topology), []));
  if (check && faults.length > 0) return faults;
  if (!check) ensureEdgeCanBeImported(root, topology);
  const fromServices = await serviceOutputs(root, topology);
  faults.push(...settle(fromServices.outputs, []), ...fromServices.faults);
  return [...faults, ...sampleFaults(root), ...lintProject(root, topology)];
}

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { check } = optionsOrExit(USAGE, { check: { type: 'boolean', default: false } });
try {
  const faults = await generate(root, check);
  for (const fault of faults) console.error(fault);
  if (faults.length > 0) process.exitCode = 1;
  else console.log(check ? 'Everything generated is up to date.' : 'Done.');
} catch (error) {
  if (error instanceof ShopError) complain(error);
  else console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
