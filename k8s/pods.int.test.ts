import { beforeEach, describe, expect, test } from 'vitest';
import { loadTopology } from '../generator/topology.ts';
import { type Manifest, render } from './manifests.ts';
import { isService, podFaults, type Workload } from './pod-rules.ts';
import { checkoutWithBroker, needsKubectl, renderOverlay } from './testing.ts';

const topology = loadTopology('topology.yaml');
const names = topology.services.map(({ name }) => name).sort();

beforeEach(needsKubectl);

const workloads = (manifests: Manifest[]): Workload[] => manifests.filter(({ spec }) => spec?.template?.spec);
const oneOf = (overlay: string, name: string) =>
  workloads(renderOverlay({ overlay })).find(({ metadata }) => metadata.name === name) as Workload;

test.each([
  ['local, with NATS', () => renderOverlay({ root: checkoutWithBroker('jetstream'), overlay: 'local' })],
  ['local, with Redis', () => renderOverlay({ root: checkoutWithBroker('redis'), overlay: 'local' })],
  ['production', () => renderOverlay({ overlay: 'production' })],
])('in %s every pod keeps to the rules', (_, rendered) => {
  const found = workloads(rendered());
  expect(found.filter(isService).map(({ metadata }) => metadata.name)).toEqual(names);
  expect(found.flatMap((workload) => podFaults(workload))).toEqual([]);
});

test('those under edit keep to all but what an edit needs', () => {
  const found = workloads(render('tilt/dev'));
  expect(found.flatMap((workload) => podFaults(workload, { edited: true }))).toEqual([]);
  for (const workload of found.filter(isService))
    expect(podFaults(workload)).toEqual([
      `${workload.metadata.name}: app may write its file system`,
      `${workload.metadata.name}: app has no liveness probe that asks for itself alone`,
      `${workload.metadata.name}: app stays in the Service for long when it is not ready`,
    ]);
});

/** What may go from a pod, or be said the other way, without a rule above being broken; and why. */
const FREE: [path: RegExp, because: string][] = [
  [/^(apiVersion|kind|metadata\.namespace|metadata\.labels.*)$/, 'without them nothing is applied, or found'],
  [
    /\.labels\.(app\.kubernetes\.io\/(name|part-of)|uses-broker)( turned)?$/,
    'selectors (overlays) and network policies',
  ],
  [/^spec\.(replicas|revisionHistoryLimit|selector\b.*|strategy\b.*)$/, 'rolling updates (overlays)'],
  [/\.lifecycle(\..*)?$/, 'rolling updates (overlays)'],
  [
    /annotations\.dapr\.io\/(graceful-shutdown-seconds|max-body-size|read-buffer-size|log-as-json|app-protocol|disable-init-endpoints|app-health-probe-interval|app-health-threshold|env)( turned)?$/,
    'settings of local mode (sidecar-settings)',
  ],
  [
    /\.(ports\[0\]\.protocol|livenessProbe\.(periodSeconds|failureThreshold)|startupProbe\.periodSeconds)$/,
    'Kubernetes takes the same by itself, or is more patient',
  ],
  [
    /\.(secretKeyRef\.key|secret\.(items.*|name)|sources\[\d+\](\.secret)?)$/,
    'Secrets and their keys (below)',
  ],
];

describe.each(['orders', 'platform'])('control: in the pod of %s', (name) => {
  test('nothing can be taken away without a fault', () => {
    const workload = oneOf('local', name);
    expect(podFaults(workload)).toEqual([]);
    const unseen = [...without(workload)].filter(([, rest]) => brokenBy(rest) === 0).map(([path]) => path);
    expect(unseen.filter((path) => !FREE.some(([free]) => free.test(path)))).toEqual([]);
    if (name === 'orders')
      expect(FREE.filter(([free]) => !unseen.some((path) => free.test(path)))).toEqual([]);
  });
});

/** Something that a rule reads may be gone altogether: that is a fault too. */
function brokenBy(workload: Workload): number {
  try {
    return podFaults(workload).length;
  } catch {
    return 1;
  }
}

/** Copies that lack one thing each, at any depth, or say the opposite of it; with the path of that. */
function* without(whole: Workload, path: string[] = []): Generator<[string, Workload]> {
  for (const key of Object.keys(parentOf(whole, path))) {
    const place = [...path, key].join('.').replaceAll(/\.(\d+)(?=\.|$)/g, '[$1]');
    const less = structuredClone(whole);
    const parent = parentOf(less, path);
    const gone = parent[key];
    if (Array.isArray(parent)) parent.splice(Number(key), 1);
    else delete parent[key];
    yield [place, less];
    if (/^(true|false)$/.test(String(gone))) {
      const opposite = structuredClone(whole);
      const turned = String(gone) === 'false';
      parentOf(opposite, path)[key] = typeof gone === 'string' ? String(turned) : turned;
      yield [`${place} turned`, opposite];
    }
    if (typeof gone === 'object' && gone !== null) yield* without(whole, [...path, key]);
  }
}

function parentOf(root: Workload, path: string[]): Record<string, unknown> {
  let value: Record<string, unknown> = root;
  for (const key of path) value = value[key] as Record<string, unknown>;
  return value;
}
