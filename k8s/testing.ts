import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { beforeAll, beforeEach, onTestFinished, type TestContext } from 'vitest';
import { stringify } from 'yaml';
import { loadBroker } from '../generator/broker.ts';
import { daprOutputs } from '../generator/dapr-outputs.ts';
import { kubernetesOutputs } from '../generator/kubernetes.ts';
import { loadTopology, type Topology } from '../generator/topology.ts';
import { applyOutputs, findDrift } from '../generator/write.ts';
import { skip } from '../tests/cluster/skip.ts';
import { findDaprChart } from './dapr-chart.ts';
import { type Manifest, render } from './manifests.ts';

/** Ends a test, with the reason, where there is no kubectl: it has the kustomize that people apply with. */
export function needsKubectl(context: TestContext): void {
  if (spawnSync('kubectl', ['version', '--client']).error) skip(context, 'there is no kubectl on the PATH');
}

/** The folder of Dapr's chart, for the tests of the file or the `describe` that calls this; skips them, with the reason, where there is none. */
export function useDaprChart(): () => string {
  let chart: Awaited<ReturnType<typeof findDaprChart>> | undefined;
  beforeAll(async () => {
    chart = await findDaprChart();
  }, 300_000);
  beforeEach((context) => {
    if (chart && 'whyNot' in chart) skip(context, chart.whyNot);
  });
  return () => {
    if (!chart || 'whyNot' in chart) throw new Error('the chart of Dapr was not looked for, or not found');
    return chart.folder;
  };
}

/** A copy of what the overlays are made of, as `npm run generate` makes it with that broker in the table. */
export function checkoutWithBroker(broker: string): string {
  const root = mkdtempSync(join(tmpdir(), 'sidecart-k8s-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  copyCheckout(root);
  generateInto(root, { ...loadTopology('topology.yaml'), broker });
  return root;
}

/** What `npm run generate` reads and writes for a cluster, as it is here. */
export function copyCheckout(root: string): void {
  for (const folder of ['k8s', 'components', 'dapr']) cpSync(folder, join(root, folder), { recursive: true });
}

export function generateInto(root: string, topology: Topology): void {
  const dapr = daprOutputs(topology, loadBroker(root, topology.broker));
  const outputs = [...dapr, ...kubernetesOutputs(topology, dapr)];
  applyOutputs(
    root,
    outputs,
    findDrift(root, outputs, [], () => true),
  );
}

/** What kustomize makes of an overlay of the checkout at `root`, with components of k8s/components/ on top. */
export function renderOverlay(o: { root?: string; overlay: string; components?: string[] }): Manifest[] {
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-k8s-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const k8s = relative(folder, join(o.root ?? process.cwd(), 'k8s'));
  const kustomization = {
    resources: [join(k8s, 'overlays', o.overlay)],
    components: (o.components ?? []).map((name) => join(k8s, 'components', name)),
  };
  writeFileSync(join(folder, 'kustomization.yaml'), stringify(kustomization));
  return render(folder);
}
