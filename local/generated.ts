import { brokersGenerated, loadBroker, streamsFile } from '../generator/broker.ts';
import { daprOutputs } from '../generator/dapr-outputs.ts';
import { serviceTopologyOutput } from '../generator/service-topology.ts';
import type { Topology } from '../generator/topology.ts';
import { applyOutputs, type Drift, findDrift } from '../generator/write.ts';
import { CHECKOUT } from './run-paths.ts';

/**
 * Where the `components/` and `dapr/` are that the sidecars run on: in the checkout, or, where those are not this broker's, in `folder`, which
 * gets what `npm run generate` would write. The checkout stays as it is. With a notice where the table itself names that broker.
 */
export function filesToRun(
  topology: Topology,
  table: Pick<Topology, 'broker'>,
  folder: string,
  root = CHECKOUT,
): { generated: string; notice?: string } {
  const isOfTable = topology.broker === table.broker;
  const fault = isOfTable ? faultOfBroker(topology.broker, root) : undefined;
  if (isOfTable && !fault) return { generated: root };
  const outputs = daprOutputs(topology, loadBroker(root, topology.broker));
  applyOutputs(
    folder,
    outputs,
    findDrift(folder, outputs, ['components', 'dapr'], () => false),
  );
  if (!fault) return { generated: folder };
  return {
    generated: folder,
    notice: `${fault}. What is run is in ${folder}. To change that: npm run generate`,
  };
}

/** Why `components/` and `dapr/` cannot be taken for those of this broker: a sidecar would be given what the one that is started does not understand. */
function faultOfBroker(broker: string, root: string): string | undefined {
  const brokers = brokersGenerated(root);
  const others = brokers.filter((name) => name !== broker);
  if (brokers.length === 0)
    return `topology.yaml names ${broker}, and there is no ${streamsFile(broker)} to say that components/ and dapr/ are for it`;
  if (!brokers.includes(broker))
    return `topology.yaml names ${broker}, and components/ and dapr/ are still those of ${others.join(', ')}`;
  if (others.length > 0)
    return `${others.map(streamsFile).join(', ')} is left over beside that of ${broker}, so that nothing says whose components/ and dapr/ are`;
  return undefined;
}

/**
 * What is wrong with the generated files that this machine runs on, as one line, or nothing: an edit of the table without
 * `npm run generate` would start the old shop without a word. Those for Kubernetes and the documents are not looked at.
 * The sidecars' files may be elsewhere (`generated`); what the services' code imports is always the checkout's.
 */
export function outdatedFiles(topology: Topology, generated: string, root = CHECKOUT): string | undefined {
  const drift: Drift[] = [
    ...findDrift(
      generated,
      daprOutputs(topology, loadBroker(root, topology.broker)),
      ['components', 'dapr'],
      (path) => path.startsWith('components/brokers/'),
    ),
    ...findDrift(root, [serviceTopologyOutput(topology)], [], () => false),
  ];
  if (drift.length === 0) return undefined;
  const named = drift.slice(0, 3).map(({ path, problem }) => `${path} ${problem}`);
  const more = drift.length > named.length ? [`${drift.length - named.length} more`] : [];
  return `generated files are not those of topology.yaml, and run as they are: ${[...named, ...more].join(', ')}. Cure: npm run generate, then start again`;
}
