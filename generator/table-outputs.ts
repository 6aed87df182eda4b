import { loadBroker } from './broker.ts';
import { contractOutputs, SCHEMA_FOLDER } from './contracts.ts';
import { daprOutputs } from './dapr-outputs.ts';
import { eventsDocument, topologyDocument } from './docs.ts';
import { isHandWritten, kubernetesOutputs } from './kubernetes.ts';
import type { Output } from './output.ts';
import { serviceTopologyOutput } from './service-topology.ts';
import type { Topology } from './topology.ts';

/** Folders in which every file is generated, but for the templates. */
export const OWN_FOLDERS = ['components', 'dapr', 'k8s/base', SCHEMA_FOLDER];
export const isTemplate = (path: string) =>
  isHandWritten(path) || (path.startsWith('components/brokers/') && !path.includes('.generated.'));

/** Everything made from the table alone, without a line of the services' code. */
export function tableOutputs(root: string, topology: Topology): Output[] {
  const dapr = daprOutputs(topology, loadBroker(root, topology.broker));
  return [
    ...dapr,
    ...kubernetesOutputs(topology, dapr),
    serviceTopologyOutput(topology),
    ...contractOutputs(topology),
    eventsDocument(topology),
    topologyDocument(topology),
  ];
}
