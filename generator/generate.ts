import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { optionsOrExit } from '../local/command-line.ts';
import { loadBroker } from './broker.ts';
import { catalogFaults, contractOutputs, SCHEMA_FOLDER } from './contracts.ts';
import { daprOutputs } from './dapr-outputs.ts';
import { eventsDocument, problemsDocument, topologyDocument } from './docs.ts';
import { isHandWritten, kubernetesOutputs } from './kubernetes.ts';
import { lintProject } from './lint.ts';
import { collectOpenApi, operationFaults, publicOpenApi } from './openapi.ts';
import { header, type Output } from './output.ts';
import { collectProblems, problemsOutput } from './problems.ts';
import { missingSamples, sampleFaults } from './samples.ts';
import { ensureEdgeCanBeImported } from './service-modules.ts';
import { renderServiceTopology } from './service-topology.ts';
import { loadTopology, type Topology } from './topology.ts';
import { applyOutputs, findDrift } from './write.ts';

const USAGE = `npm run generate [-- options]

Writes everything that repeats topology.yaml or the contracts, then lints the Dapr files.

  --check    only say which files are not what it would write
  --help     this text`;

/** Folders in which every file is generated, but for the templates. */
const OWN_FOLDERS = ['components', 'dapr', 'k8s/base', SCHEMA_FOLDER];
const isTemplate = (path: string) =>
  isHandWritten(path) || (path.startsWith('components/brokers/') && !path.includes('.generated.'));

/** Everything made from the table alone, without a line of the services' code. */
function tableOutputs(root: string, topology: Topology): Output[] {
  return [
    ...daprOutputs(topology, loadBroker(root, topology.broker)),
    ...kubernetesOutputs(topology),
    {
      path: 'packages/contracts/src/topology.generated.ts',
      content: `${header('topology.yaml', '// ')}\n${renderServiceTopology(topology)}`,
    },
    ...contractOutputs(topology),
    eventsDocument(topology),
    topologyDocument(topology),
  ];
}

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
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
