import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { copyCheckout, generateInto } from '../../k8s/testing.ts';
import { topology } from './cluster-shop.ts';
import { WORK_FOLDER } from './overlay.ts';

/** The manifests as `npm run generate` makes them after an edit of the broker's template; returns the folder of the copy. */
export function manifestsAfter(name: string, edit: (template: string) => string): string {
  const root = join(WORK_FOLDER, name);
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  copyCheckout(root);
  const template = join(root, 'components/brokers', `${topology.broker}.yaml`);
  const [before, after] = [readFileSync(template, 'utf8'), edit(readFileSync(template, 'utf8'))];
  if (after === before) throw new Error(`the edit changed nothing in ${template}`);
  writeFileSync(template, after);
  generateInto(root, topology);
  return root;
}
