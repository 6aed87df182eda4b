import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { testFolder } from '../local/testing.ts';
import { lintProject } from './lint.ts';
import { isTemplate, OWN_FOLDERS, tableOutputs } from './table-outputs.ts';
import { parseTopology } from './topology.ts';
import { applyOutputs, findDrift } from './write.ts';

/** What the generator writes to, with the templates. */
const FOLDERS = ['components', 'dapr', 'docs', 'k8s', 'packages/contracts'];

/** Every file below the folders, by path. */
function filesOf(root: string): Record<string, string> {
  return Object.fromEntries(
    FOLDERS.flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.parentPath.includes('node_modules'))
        .map((entry) => join(entry.parentPath, entry.name))
        .map((path) => [path.slice(root.length + 1), readFileSync(path, 'utf8')]),
    ),
  );
}

test('one line makes it another broker, complete and without a fault, and back again', () => {
  const root = testFolder();
  for (const folder of FOLDERS) cpSync(folder, join(root, folder), { recursive: true });
  const table = readFileSync('topology.yaml', 'utf8');
  const generate = (broker: string): string[] => {
    const topology = parseTopology(table.replace(/^broker: \S+/m, `broker: ${broker}`));
    const outputs = tableOutputs(root, topology);
    const drift = findDrift(root, outputs, OWN_FOLDERS, isTemplate);
    applyOutputs(root, outputs, drift);
    expect(lintProject(root, topology)).toEqual([]);
    return drift.map(({ path }) => path);
  };

  generate('jetstream');
  const before = filesOf(root);
  const changed = generate('redis');
  const rest = changed.filter(
    (path) => !/^components\/(pubsub-[a-z0-9-]+|brokers\/\w+-streams\.generated)\.yaml$/.test(path),
  );
  expect(rest.sort()).toEqual([
    'components/kustomization.yaml',
    'dapr/gateway/resiliency.yaml',
    'dapr/inventory/resiliency.yaml',
    'dapr/orders/resiliency.yaml',
    'dapr/payments/resiliency.yaml',
    'dapr/products/resiliency.yaml',
    'dapr/shipping/resiliency.yaml',
    // The pods of those that use the broker are new ones.
    'k8s/base/inventory/service.yaml',
    'k8s/base/orders/service.yaml',
    'k8s/base/payments/service.yaml',
    'k8s/base/products/service.yaml',
    'k8s/base/shipping/service.yaml',
    'k8s/components/broker/kustomization.yaml',
    'k8s/components/network-policies/broker.generated.yaml',
  ]);
  const after = filesOf(root);
  expect(after).toHaveProperty(['components/brokers/redis-streams.generated.yaml']);
  expect(after).not.toHaveProperty(['components/brokers/jetstream-streams.generated.yaml']);
  const components = Object.entries(after).filter(([path]) => path.startsWith('components/pubsub-'));
  expect(components.length).toBeGreaterThan(5);
  for (const [, text] of components) expect(text).toContain('type: pubsub.redis');

  generate('jetstream');
  expect(filesOf(root)).toEqual(before);
});
