import { brokersGenerated, loadBroker } from '../generator/broker.ts';
import { daprOutputs } from '../generator/dapr-outputs.ts';
import { serviceTopologyOutput } from '../generator/service-topology.ts';
import type { Topology } from '../generator/topology.ts';
import { applyOutputs, findDrift } from '../generator/write.ts';
import { CHECKOUT } from './run-paths.ts';

/**
 * For a shop on another broker than the table's: writes into `folder` what `npm run generate` would write into the
 * checkout's `components/` and `dapr/`, and leaves those as they are. Returns the folder.
 */
export function otherBroker(topology: Topology, folder: string): string {
  const outputs = daprOutputs(topology, loadBroker(CHECKOUT, topology.broker));
  applyOutputs(
    folder,
    outputs,
    findDrift(folder, outputs, ['components', 'dapr'], () => false),
  );
  return folder;
}

/**
 * Whether `components/` and `dapr/` were generated for this broker. Where only the line in the table was changed they are still another's,
 * and a sidecar would be given what the broker that is started does not understand.
 */
export function isGeneratedFor(broker: string, root = CHECKOUT): boolean {
  const brokers = brokersGenerated(root);
  return brokers.length === 1 && brokers[0] === broker;
}

/**
 * What is wrong with the generated files that this machine runs on, as one line, or nothing: an edit of the table without
 * `npm run generate` would start the old shop without a word. Those for Kubernetes and the documents are not looked at.
 */
export function outdatedFiles(topology: Topology, root = CHECKOUT): string | undefined {
  const outputs = [
    ...daprOutputs(topology, loadBroker(root, topology.broker)),
    serviceTopologyOutput(topology),
  ];
  const drift = findDrift(root, outputs, ['components', 'dapr'], (path) =>
    path.startsWith('components/brokers/'),
  );
  if (drift.length === 0) return undefined;
  const named = drift.slice(0, 3).map(({ path, problem }) => `${path} ${problem}`);
  const more = drift.length > named.length ? [`${drift.length - named.length} more`] : [];
  return `generated files are not those of topology.yaml, and run as they are: ${[...named, ...more].join(', ')}. Cure: npm run generate, then start again`;
}
