import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadBroker } from '../../generator/broker.ts';
import { daprOutputs } from '../../generator/dapr-outputs.ts';
import { kubernetesOutputs } from '../../generator/kubernetes.ts';
import { applyOutputs, findDrift } from '../../generator/write.ts';
import { topology } from './cluster-shop.ts';
import { WORK_FOLDER } from './overlay.ts';

/** The manifests as `npm run generate` makes them after an edit of the broker's template; returns the folder of the copy. */
export function manifestsAfter(name: string, edit: (template: string) => string): string {
  const root = join(WORK_FOLDER, name);
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  for (const folder of ['k8s', 'components', 'dapr']) cpSync(folder, join(root, folder), { recursive: true });
  const template = join(root, 'components/brokers', `${topology.broker}.yaml`);
  const [before, after] = [readFileSync(template, 'utf8'), edit(readFileSync(template, 'utf8'))];
  if (after === before) throw new Error(`the edit changed nothing in ${template}`);
  writeFileSync(template, after);
  const dapr = daprOutputs(topology, loadBroker(root, topology.broker));
  const outputs = [...dapr, ...kubernetesOutputs(topology, dapr)];
  applyOutputs(
    root,
    outputs,
    findDrift(root, outputs, [], () => true),
  );
  return root;
}
