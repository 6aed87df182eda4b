import { join } from 'node:path';
import { complain } from '../local/complaint.ts';
import { CHECKOUT } from '../local/run-paths.ts';
import { loadTopology } from './topology.ts';

// For those who read topology.yaml by themselves, as Tilt does: whether it may be read, told as every command tells it.
try {
  loadTopology(join(CHECKOUT, 'topology.yaml'));
} catch (error) {
  complain(error);
}
