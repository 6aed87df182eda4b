import { beforeEach, describe, expect, test } from 'vitest';
import { loadTopology } from '../generator/topology.ts';
import { type Manifest, nameOf, render } from './manifests.ts';
import { containersOf, isService, podOf } from './pod-rules.ts';
import { missingSecrets } from './secrets.ts';
import { needsKubectl, renderOverlay } from './testing.ts';

const topology = loadTopology('topology.yaml');
const { services, externals } = topology;
const names = topology.services.map(({ name }) => name).sort();
const databases = topology.services.filter(({ database }) => database).map(({ name }) => name);
const OVERLAYS = ['local', 'production'];

beforeEach(needsKubectl);

const rendered = new Map<string, Manifest[]>();
/** Rendered once for all tests, which only read it. */
function overlay(name: string): Manifest[] {
  const manifests = rendered.get(name) ?? renderOverlay({ overlay: name });
  rendered.set(name, manifests);
  return manifests;
}
const ofKind = (manifests: Manifest[], ...kinds: string[]) =>
  manifests.filter(({ kind }) => kinds.includes(kind));
const workloads = (manifests: Manifest[]) => ofKind(manifests, 'Deployment', 'StatefulSet');

describe.each(OVERLAYS)('in %s', (name) => {
  test('the namespace of the table admits restricted pods only, and everything is in it', () => {
    const [namespace, ...others] = ofKind(overlay(name), 'Namespace');
    expect(others).toEqual([]);
    expect(namespace?.metadata).toMatchObject({
      name: topology.namespace,
      labels: {
        'pod-security.kubernetes.io/enforce': 'restricted',
        'pod-security.kubernetes.io/audit': 'restricted',
        'pod-security.kubernetes.io/warn': 'restricted',
      },
    });
    const elsewhere = overlay(name).filter(
      ({ kind, metadata }) => kind !== 'Namespace' && metadata.namespace !== topology.namespace,
    );
    expect(elsewhere.map(nameOf)).toEqual([]);
  });

  test('an account gives no token of the Kubernetes API, and has the right to its own Secret, or none', () => {
    const accounts = ofKind(overlay(name), 'ServiceAccount');
    const giving = accounts.filter(
      ({ automountServiceAccountToken }) => automountServiceAccountToken !== false,
    );
    expect(giving.map(nameOf)).toEqual([]);
    expect(accounts.map(({ metadata }) => metadata.name).sort()).toEqual(
      workloads(overlay(name))
        .map(({ metadata }) => metadata.name)
        .sort(),
    );
    const bindings = ofKind(overlay(name), 'RoleBinding', 'ClusterRoleBinding');
    const bound = bindings.map(({ metadata, roleRef, subjects }) => [
      metadata.name,
      roleRef.kind,
      roleRef.name,
      subjects,
    ]);
    expect(bound.sort()).toEqual(
      databases
        .map((service) => [
          `${service}-db`,
          'Role',
          `${service}-db`,
          [expect.objectContaining({ kind: 'ServiceAccount', name: service })],
        ])
        .sort(),
    );
    expect(ofKind(overlay(name), 'ClusterRole')).toEqual([]);
  });

  test('one pod of a service at a time may be taken away, and one that is not well at any time', () => {
    const budgets = ofKind(overlay(name), 'PodDisruptionBudget');
    const pods = (service: string) => ({ matchLabels: { 'app.kubernetes.io/name': service } });
    expect(budgets.map(({ metadata, spec }) => [metadata.name, spec]).sort()).toEqual(
      names.map((service) => [
        service,
        // Otherwise a pod that never becomes ready keeps its node from being drained.
        { maxUnavailable: 1, unhealthyPodEvictionPolicy: 'AlwaysAllow', selector: pods(service) },
      ]),
    );
  });

  test('each service is reached at its Service by the name of a port that its pods have', () => {
    for (const workload of workloads(overlay(name)).filter(isService)) {
      const service = overlay(name).find(
        ({ kind, metadata }) => kind === 'Service' && metadata.name === workload.metadata.name,
      );
      expect(service?.spec.selector).toEqual(workload.spec.selector.matchLabels);
      expect(workload.spec.template.metadata.labels).toMatchObject(service?.spec.selector);
      expect(service?.spec.ports).toEqual([
        { name: 'http', port: 80, targetPort: 'http', protocol: 'TCP', appProtocol: 'http' },
      ]);
      expect(service?.spec.type ?? 'ClusterIP').toBe('ClusterIP');
    }
  });

  test('what a pod asks for when it starts is applied before it, and what closes the namespace before everything', () => {
    // As it is applied: inside another kustomization it would have that one's order.
    const order = render(`k8s/overlays/${name}`).map(({ kind }) => kind);
    const last = (kind: string) => order.lastIndexOf(kind);
    const firstPod = order.findIndex((kind) => kind === 'Deployment' || kind === 'StatefulSet');
    expect(order.indexOf('Namespace')).toBe(0);
    // Each kind of Dapr's too: a sidecar that starts without its component or endpoint stays without.
    const daprKinds = ['Configuration', 'Resiliency', 'HTTPEndpoint', 'Component', 'Subscription'];
    expect(new Set(daprKinds)).toEqual(
      new Set(overlay(name).flatMap(({ apiVersion, kind }) => (/^dapr\.io\//.test(apiVersion) ? kind : []))),
    );
    for (const kind of [
      ...['NetworkPolicy', 'ServiceAccount', 'Role', 'RoleBinding', 'ConfigMap', 'PersistentVolumeClaim'],
      ...['Service', ...daprKinds],
    ])
      expect(last(kind), kind).toBeLessThan(firstPod);
  });

  test('there is no Secret in the manifests; those that they name are made by the documented step, with these keys', () => {
    expect(ofKind(overlay(name), 'Secret')).toEqual([]);
    const made = missingSecrets({ services, externals, brokerKind: topology.broker }, {});
    const keys = new Set(
      Object.entries(made).flatMap(([secret, data]) => Object.keys(data).map((key) => `${secret}/${key}`)),
    );
    // By --ca, where database and broker have certificates of a private authority.
    if (name === 'production') keys.add('backing-ca/ca.crt');
    const read = workloads(overlay(name)).flatMap(secretsRead);
    expect(read.length).toBeGreaterThan(3 * names.length);
    expect(
      read.filter((secret) => ![...keys].some((key) => key === secret || key.startsWith(`${secret}/`))),
    ).toEqual([]);
  });
});

/** `orders-db/url`, or only the name of the Secret where all its keys become files. */
function secretsRead(workload: Manifest): string[] {
  const { volumes = [] } = podOf(workload);
  const sources = volumes.flatMap(({ secret, projected }: Manifest) => [
    ...(secret ? [{ ...secret, name: secret.secretName }] : []),
    ...(projected?.sources ?? []).flatMap((source: Manifest) => source.secret ?? []),
  ]);
  return [
    ...containersOf(workload)
      .flatMap(({ env = [] }) => env)
      .flatMap(({ valueFrom }) =>
        valueFrom?.secretKeyRef ? [`${valueFrom.secretKeyRef.name}/${valueFrom.secretKeyRef.key}`] : [],
      ),
    ...sources.flatMap(({ name, items }: Manifest & { name: string }) =>
      items ? items.map(({ key }: { key: string }) => `${name}/${key}`) : [name],
    ),
  ];
}

test('the components and the sidecars of a service read Secrets that are made, with these keys', () => {
  const made = missingSecrets({ services, externals, brokerKind: topology.broker }, {});
  for (const { metadata, spec } of ofKind(overlay('local'), 'Component'))
    for (const { secretKeyRef } of spec.metadata)
      if (secretKeyRef) expect(made[secretKeyRef.name], metadata.name).toHaveProperty([secretKeyRef.key]);
  for (const workload of workloads(overlay('local')).filter(isService)) {
    const { annotations } = workload.spec.template.metadata;
    for (const kind of ['api', 'app'])
      expect(made[annotations[`dapr.io/${kind}-token-secret`]]).toHaveProperty('token');
  }
});

test('in production each service has three replicas at least, by the autoscaler alone, spread over three zones', () => {
  const services = workloads(overlay('production')).filter(isService);
  for (const { metadata, spec } of services) {
    // With a number of its own each apply would set the replicas back.
    expect(spec.replicas, metadata.name).toBeUndefined();
    const [zones, nodes] = spec.template.spec.topologySpreadConstraints;
    expect(zones).toMatchObject({ whenUnsatisfiable: 'DoNotSchedule', minDomains: 3 });
    expect(nodes).toMatchObject({ whenUnsatisfiable: 'ScheduleAnyway' });
  }
  const scalers = ofKind(overlay('production'), 'HorizontalPodAutoscaler');
  expect(scalers.map(({ spec }) => spec.scaleTargetRef.name).sort()).toEqual(names);
  for (const { metadata, spec } of scalers) {
    const { replicas = 1 } = topology.services.find(({ name }) => name === metadata.name) ?? {};
    expect(spec).toMatchObject({
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: metadata.name },
      minReplicas: Math.max(3, replicas),
      metrics: [
        {
          type: 'Resource',
          resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } },
        },
      ],
      // It goes by one a minute, after five quiet ones: each that leaves takes half a minute to do so.
      behavior: {
        scaleDown: {
          stabilizationWindowSeconds: 300,
          policies: [{ type: 'Pods', value: 1, periodSeconds: 60 }],
        },
      },
    });
    expect(spec.maxReplicas).toBeGreaterThan(spec.minReplicas);
  }
});

test('locally each service has the replicas of the table', () => {
  const replicas = workloads(overlay('local'))
    .filter(isService)
    .map(({ metadata, spec }) => [metadata.name, spec.replicas]);
  expect(replicas.sort()).toEqual(topology.services.map(({ name, replicas: count }) => [name, count]).sort());
});
