import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { STOP_WITHIN_MS } from '@sidecart/kit/service';
import { beforeEach, expect, test } from 'vitest';
import { loadBroker } from '../generator/broker.ts';
import { daprOutputs } from '../generator/dapr-outputs.ts';
import { isHandWritten, kubernetesOutputs } from '../generator/kubernetes.ts';
import { loadTopology, parseTopology, secretsOf } from '../generator/topology.ts';
import { applyOutputs, findDrift } from '../generator/write.ts';
import { testFolder } from '../local/testing.ts';
import { type Manifest, render } from './manifests.ts';
import { missingSecrets } from './secrets.ts';
import { checkoutWithBroker, needsKubectl, renderOverlay } from './testing.ts';

const topology = loadTopology('topology.yaml');
/** What stands in for the APIs outside, in the local overlay. */
const simulators = topology.externals.flatMap(({ name, simulatorPort }) => (simulatorPort ? [name] : []));
const named = (manifests: Manifest[], kind: string, name: string) =>
  manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
const deployments = (manifests: Manifest[]) => manifests.filter(({ kind }) => kind === 'Deployment');

beforeEach(needsKubectl);

test('a service that joins by its row has everything that the others have', () => {
  const root = testFolder();
  for (const folder of ['k8s', 'components']) cpSync(folder, join(root, folder), { recursive: true });
  const row =
    '{ port: 8155, database: true, replicas: 2, topic: { lanes: 1 }, consumes: [orders], invokes: { products: { timeout: 1s, operations: [POST /v1/quotes] } } }';
  const table = `${readFileSync('topology.yaml', 'utf8')}\n  late-joiner: ${row}\n`;
  const more = parseTopology(table);
  const dapr = daprOutputs(more, loadBroker(root, more.broker));
  const outputs = [...dapr, ...kubernetesOutputs(more, dapr)];
  applyOutputs(root, outputs, findDrift(root, outputs, ['k8s/base'], isHandWritten));

  for (const [overlay, components] of [
    ['local', ['network-policies', 'autoscaling']],
    ['production', []],
  ] as const) {
    const manifests = renderOverlay({ root, overlay, components: [...components] });
    // Like `orders` in every object, but for its name, its port, its replicas and what its sidecar reads.
    const alike = (name: string, port: number) =>
      manifests
        .filter(
          ({ metadata, kind }) => metadata.name.startsWith(name) && !/^(Component|Subscription)$/.test(kind),
        )
        .filter(({ apiVersion }) => !/dapr|networking/.test(apiVersion))
        .map((manifest) => {
          const text = JSON.stringify(manifest).replaceAll(name, 'NAME').replaceAll(`${port}`, 'PORT');
          return text
            .replace(/"replicas":\d+/, '"replicas":N')
            .replace(/("sidecart.dev\/dapr-resources":)"[0-9a-f]{12}"/, '$1"HASH"');
        })
        .sort();
    expect(alike('late-joiner', 8155).length).toBeGreaterThan(6);
    expect(alike('late-joiner', 8155)).toEqual(alike('orders', 8103));
    const found = manifests.filter(({ metadata }) => /late-joiner/.test(metadata.name));
    expect(found.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['Configuration', 'Resiliency', 'Subscription', 'Component', 'NetworkPolicy']),
    );
  }
  const local = renderOverlay({ root, overlay: 'local' });
  expect(named(local, 'Deployment', 'late-joiner')?.spec.replicas).toBe(2);
  expect(JSON.stringify(named(local, 'Deployment', 'platform'))).toContain('late-joiner-db-owner');
});

test.each(['local', 'production'])('in %s, what one object says of another is there', (overlay) => {
  const manifests = renderOverlay({ overlay });
  const missing: string[] = [];
  const expectThere = (from: Manifest, kind: string, name: string) => {
    if (!named(manifests, kind, name)) missing.push(`${from.kind} ${from.metadata.name}: no ${kind} ${name}`);
  };
  for (const deployment of deployments(manifests)) {
    const { spec, metadata } = deployment.spec.template;
    expectThere(deployment, 'ServiceAccount', spec.serviceAccountName);
    const config = metadata.annotations?.['dapr.io/config'];
    if (config) expectThere(deployment, 'Configuration', config);
  }
  for (const route of manifests.filter(({ kind }) => kind === 'HTTPRoute'))
    for (const { name } of route.spec.rules.flatMap(
      (rule: { backendRefs?: { name: string }[] }) => rule.backendRefs ?? [],
    ))
      expectThere(route, 'Service', name);
  for (const scaler of manifests.filter(({ kind }) => kind === 'HorizontalPodAutoscaler'))
    expectThere(scaler, 'Deployment', scaler.spec.scaleTargetRef.name);
  for (const budget of manifests.filter(({ kind }) => kind === 'PodDisruptionBudget'))
    expect(
      deployments(manifests).filter(
        ({ spec }) => JSON.stringify(spec.selector) === JSON.stringify(budget.spec.selector),
      ),
    ).toHaveLength(1);
  expect(missing).toEqual([]);
  expect(placeholders(manifests)).toEqual([]);
});

test.each([
  ['jetstream', 'nats', 'redis'],
  ['redis', 'redis', 'nats'],
])(
  'with %s the local overlay has the server %s, alike but for what the two need, and not %s',
  (broker, server, other) => {
    const manifests = renderOverlay({ root: checkoutWithBroker(broker), overlay: 'local' });
    expect(manifests.filter(({ metadata }) => metadata.name.startsWith(other))).toEqual([]);
    const set = named(manifests, 'StatefulSet', server) as Manifest;
    const { securityContext, containers, volumes } = set.spec.template.spec;
    expect(named(manifests, 'Service', server)?.spec.selector).toEqual(set.spec.selector.matchLabels);
    expect(named(manifests, 'ServiceAccount', server)).toBeDefined();
    const config = volumes.find(({ name }: { name: string }) => name === 'config').configMap.name;
    expect(named(manifests, 'ConfigMap', config)?.data).toHaveProperty([`${server}.conf`]);
    const auth = volumes.find(({ name }: { name: string }) => name === 'auth').secret.secretName;
    expect(missingSecrets({ services: [], brokerKind: broker }, {})).toMatchObject({
      [auth]: { password: expect.any(String), 'auth.conf': expect.any(String) },
      broker: {
        url: expect.stringContaining(`@${server}:${named(manifests, 'Service', server)?.spec.ports[0].port}`),
      },
    });
    expect(securityContext.runAsNonRoot).toBe(true);
    expect(containers[0].securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  },
);

test('an account may read the Secrets of its own service: that of its database, and for an API outside that it calls', () => {
  const roles = renderOverlay({ overlay: 'production' }).filter(({ kind }) => kind === 'Role');
  const databases = topology.services.filter(({ database }) => database).map(({ name }) => name);
  expect(roles.map(({ rules }) => rules)).toEqual(
    databases
      .sort()
      .map((name) => [
        { apiGroups: [''], resources: ['secrets'], resourceNames: secretsOf(name, topology), verbs: ['get'] },
      ]),
  );
});

test('a simulator is reached where the endpoint says, knows what its caller knows, and keeps to the rules for pods', () => {
  const manifests = renderOverlay({ overlay: 'local' });
  for (const name of simulators) {
    const external = topology.externals.find((one) => one.name === name);
    const endpoint = named(manifests, 'HTTPEndpoint', name);
    const [{ port }] = (named(manifests, 'Service', name) as Manifest).spec.ports;
    expect(endpoint).toMatchObject({ spec: { baseUrl: `http://${name}:${port}` }, scopes: external?.users });
    const { spec } = (named(manifests, 'Deployment', name) as Manifest).spec.template;
    const [app] = spec.containers;
    const secrets = app.env.flatMap(({ valueFrom }: { valueFrom?: { secretKeyRef: object } }) =>
      valueFrom ? [valueFrom.secretKeyRef] : [],
    );
    const [user] = external?.users ?? [];
    expect(secrets).toEqual(external?.secret.map((key) => ({ name: `${user}-${name}`, key })));
    const made = missingSecrets({ services: [], externals: topology.externals, brokerKind: 'jetstream' }, {});
    expect(Object.keys(made[`${user}-${name}`] ?? {})).toEqual(external?.secret);
    expect(spec.securityContext.runAsNonRoot).toBe(true);
    expect(app.securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  }
});

test('in production no simulator is there, and the endpoint is at an address with TLS', () => {
  const manifests = renderOverlay({ overlay: 'production' });
  for (const name of simulators) {
    expect(named(manifests, 'Deployment', name)).toBeUndefined();
    expect(named(manifests, 'HTTPEndpoint', name)?.spec.baseUrl).toMatch(/^https:/);
  }
});

test('in production another address of an API outside makes new pods of those who call it', () => {
  const manifests = renderOverlay({ overlay: 'production' });
  // An address that the table has is in the hash of what sidecars read.
  for (const { name, users } of topology.externals.filter((one) => simulators.includes(one.name)))
    for (const user of users) {
      const { annotations } = named(manifests, 'Deployment', user)?.spec.template.metadata ?? {};
      const { baseUrl } = named(manifests, 'HTTPEndpoint', name)?.spec ?? {};
      expect(annotations[`sidecart.dev/address-of-${name}`], user).toBe(baseUrl);
    }
});

test('a release is said once: every image has its registry, with a port too, and its tag', () => {
  const root = testFolder();
  for (const folder of ['k8s', 'components', 'dapr']) cpSync(folder, join(root, folder), { recursive: true });
  const file = join(root, 'k8s/overlays/local/release.yaml');
  const release = readFileSync(file, 'utf8')
    .replace('images: sidecart', 'images: registry.example.com:5000/team/shop')
    .replace('tag: dev', 'tag: 1.2.3');
  writeFileSync(file, release);
  const images = deployments(renderOverlay({ root, overlay: 'local' })).flatMap(({ spec }) => {
    const { containers, initContainers = [] } = spec.template.spec;
    return [...containers, ...initContainers].map(({ image }: { image: string }) => image);
  });
  const names = topology.services.flatMap(({ name, database }) => (database ? [name, name] : [name]));
  expect(images.sort()).toEqual(
    [...names, ...simulators, 'platform', 'platform']
      .map((name) => `registry.example.com:5000/team/shop/${name}:1.2.3`)
      .sort(),
  );
});

/** What takes longer than its pod is given, or a roll-out that takes a pod away before the next one is ready; in words. */
function hasty({ metadata, spec }: Manifest): string[] {
  const { annotations = {} } = spec.template.metadata;
  const app = spec.template.spec.containers.find(({ name }: { name: string }) => name === 'app');
  const wait = app.lifecycle?.preStop?.sleep?.seconds ?? 0;
  const sidecar = Number(annotations['dapr.io/graceful-shutdown-seconds'] ?? 0);
  const faults: string[] = [];
  if (wait < 30) faults.push(`${metadata.name} waits ${wait} s for its callers to forget it`);
  if (wait + STOP_WITHIN_MS / 1000 + sidecar >= spec.template.spec.terminationGracePeriodSeconds)
    faults.push(`${metadata.name} is killed before it has ended`);
  if (annotations['dapr.io/enable-native-sidecar'] !== 'true')
    faults.push(`${metadata.name} may lose its sidecar before it has ended`);
  if (spec.strategy.rollingUpdate.maxUnavailable !== 0)
    faults.push(`${metadata.name} has a pod less in a roll-out`);
  return faults;
}

test.each(['local', 'production'])('in %s a service has the time to leave in order', (overlay) => {
  const services = deployments(renderOverlay({ overlay })).filter(
    ({ spec }) => spec.template.metadata.labels['app.kubernetes.io/component'] === 'service',
  );
  expect(services).toHaveLength(topology.services.length);
  expect(services.flatMap(hasty)).toEqual([]);

  const [one] = structuredClone(services) as [Manifest];
  one.spec.template.spec.terminationGracePeriodSeconds = 50;
  one.spec.template.spec.containers[0].lifecycle.preStop.sleep.seconds = 1;
  one.spec.strategy.rollingUpdate.maxUnavailable = 1;
  expect(hasty(one), 'control').toHaveLength(2);
  one.spec.template.spec.containers[0].lifecycle.preStop.sleep.seconds = 30;
  delete one.spec.template.metadata.annotations['dapr.io/enable-native-sidecar'];
  expect(hasty(one), 'control').toHaveLength(3);
});

test('who depends on a pod can wait until it is ready; only a pod under edit is not started anew by the kubelet', () => {
  const probes = (manifests: Manifest[]) =>
    deployments(manifests).map(({ metadata, spec }) => {
      const app = spec.template.spec.containers.find(({ name }: { name: string }) => name === 'app');
      return [metadata.name, app.readinessProbe !== undefined, app.livenessProbe !== undefined];
    });
  const names = [...topology.services.map(({ name }) => name), 'platform'];
  const local = [...names, ...simulators].sort();
  expect(probes(renderOverlay({ overlay: 'local' })).sort()).toEqual(local.map((name) => [name, true, true]));
  expect(probes(renderOverlay({ overlay: 'production' })).sort()).toEqual(
    names.sort().map((name) => [name, true, true]),
  );
  expect(probes(render('tilt/dev')).sort()).toEqual(local.map((name) => [name, true, false]));
});

/** Names of the template that were not replaced. `service` is also what a label calls a component. */
function placeholders(value: unknown, key = ''): string[] {
  if (typeof value === 'string')
    return key !== 'app.kubernetes.io/component' && /(^|\/)service(-|$)/.test(value)
      ? [`${key}: ${value}`]
      : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => placeholders(inner, name));
}
