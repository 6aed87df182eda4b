import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import { loadTopology } from '../generator/topology.ts';
import { render } from './manifests.ts';
import { needsKubectl } from './testing.ts';

beforeEach(needsKubectl);

/** A kustomization of somebody's own over an overlay, for the namespace `elsewhere`; with what docs/kubernetes.md says of it, or without. */
function elsewhere(overlay: string, o: { asDocumented: boolean }) {
  const folder = mkdtempSync(join(tmpdir(), 'sidecart-k8s-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const k8s = relative(folder, join(process.cwd(), 'k8s'));
  const kustomization = {
    namespace: 'elsewhere',
    resources: [join(k8s, 'overlays', overlay)],
    ...(o.asDocumented ? { transformers: [join(k8s, 'transformers/namespace')] } : {}),
  };
  writeFileSync(join(folder, 'kustomization.yaml'), stringify(kustomization));
  return render(folder);
}

/** By caller and callee, the namespace that the callee's sidecar lets the caller in from. */
function callersOf(objects: ReturnType<typeof render>): Record<string, string> {
  const policies = objects
    .filter(({ kind }) => kind === 'Configuration')
    .flatMap(({ metadata, spec }) =>
      (spec.accessControl.policies as { appId: string; namespace: string }[]).map(
        ({ appId, namespace }) => [`${appId} to ${metadata.name}`, namespace] as const,
      ),
    );
  return Object.fromEntries(policies);
}

const { calls, namespace } = loadTopology('topology.yaml');
const callers = (from: string) =>
  Object.fromEntries(calls.map(({ caller, callee }) => [`${caller} to ${callee}`, from]));

test.each(['local', 'production'])(
  '%s in another namespace: every object is there, and callers are those of there',
  (overlay) => {
    const objects = elsewhere(overlay, { asDocumented: true });
    expect(callersOf(objects)).toEqual(callers('elsewhere'));
    for (const { kind, metadata } of objects)
      expect(kind === 'Namespace' ? metadata.name : metadata.namespace, `${kind} ${metadata.name}`).toBe(
        'elsewhere',
      );
  },
);

test('control: by the field `namespace` alone callers stay those of before', () => {
  expect(callersOf(elsewhere('local', { asDocumented: false }))).toEqual(callers(namespace));
});
