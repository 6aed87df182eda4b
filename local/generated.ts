import { loadBroker } from '../generator/broker.ts';
import { daprOutputs } from '../generator/dapr-outputs.ts';
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
