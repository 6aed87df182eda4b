import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { loadTopology, type Topology } from '../generator/topology.ts';
import type { Manifest } from './manifests.ts';
import { allowedEdges } from './network-edges.ts';
import { checkoutWithBroker, needsKubectl, renderOverlay } from './testing.ts';

const topology = loadTopology('topology.yaml');
/** All that listens in these pods, the sidecars' ports included, and one that nobody knows. */
const PORTS = [
  ...new Set([
    ...topology.services.map(({ port }) => port),
    ...topology.externals.flatMap(({ simulatorPort = [] }) => simulatorPort),
    ...[8080, 5432, 4222, 6379, 8222, 3500, 3501, 50001, 50002, 9090, 31_234],
  ]),
];
const OWN_NETWORKS = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '169.254.0.0/16'];
let manifests: Manifest[];

beforeEach((context) => {
  needsKubectl(context);
  manifests = renderWith('jetstream');
});

const renderWith = (broker: string) =>
  renderOverlay({ root: checkoutWithBroker(broker), overlay: 'local', components: ['network-policies'] });

/** What the table says, without a look at what the generator makes of it, with database and broker in the namespace. */
function edgesOf(table: Topology, broker = { name: 'nats', port: 4222 }): string[] {
  const { databases, messengers } = usersOf(table);
  return [
    ...edgesOfEach(table, [broker.name, 'postgres', ...table.externals.map(({ name }) => name)]),
    ...table.externals.flatMap(({ name, users, simulatorPort }) => [
      ...users.map((user) => `${user} -> ${name}:${simulatorPort}`),
      // It calls back: the edge's own port, as it is for those who are no sidecar.
      `${name} -> ${table.edge}:8080`,
    ]),
    ...[...databases, 'platform'].map((name) => `${name} -> postgres:5432`),
    ...[...messengers, 'platform'].map((name) => `${name} -> ${broker.name}:${broker.port}`),
  ].sort();
}

/** The same with both outside, where an administrator makes the databases, and not `platform`. */
function edgesOfProduction(table: Topology): string[] {
  const { databases, messengers } = usersOf(table);
  return [
    ...edgesOfEach(table, []),
    ...databases.map((name) => `${name} -> 10.0.0.0/8:5432`),
    ...[...messengers, 'platform'].map((name) => `${name} -> 10.0.0.0/8:4222`),
    // To the world with TLS, and to nothing that may be of one's own.
    ...table.externals.flatMap(({ users }) =>
      users.map((user) => `${user} -> ${['0.0.0.0/0', ...OWN_NETWORKS].join(' but not ')}:443`),
    ),
  ].sort();
}

function usersOf({ services, topics }: Topology) {
  return {
    databases: services.filter(({ database }) => database).map(({ name }) => name),
    messengers: new Set(topics.flatMap(({ publishers, consumers }) => [...publishers, ...consumers])),
  };
}

/** Those that every overlay has; `servers` are its pods beside the services and `platform`. */
function edgesOfEach(table: Topology, servers: string[]): string[] {
  const names = table.services.map(({ name }) => name);
  const { databases } = usersOf(table);
  const edges = [
    ...table.calls.map(({ caller, callee }) => `${caller} -> ${callee}:50002`),
    ...[...names, 'platform', ...servers].map((name) => `${name} -> kube-system/k8s-app=kube-dns:53`),
    ...names.map((name) => `${name} -> dapr-system/app=dapr-sentry:50001`),
    ...names.map((name) => `${name} -> dapr-system/app=dapr-operator:6500`),
    ...databases.flatMap((name) =>
      ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map((net) => `${name} -> ${net}:443,6443`),
    ),
    `envoy-gateway-system -> ${table.edge}:http`,
  ];
  return [...new Set(edges)];
}

test('the policies open what the table says, and nothing else', () => {
  expect(allowedEdges(manifests, PORTS)).toEqual(edgesOf(topology));
});

test('with Redis the way is to its server and its port', () => {
  const edges = allowedEdges(renderWith('redis'), PORTS);
  expect(edges).toEqual(edgesOf(topology, { name: 'redis', port: 6379 }));
});

test('in production they open the way to database and broker outside, to the Kubernetes API and from the ingress', () => {
  expect(productionEdges()).toEqual(edgesOfProduction(topology));
});

test.each([
  ['to-database', 'egress', 'orders -> anywhere:any'],
  ['kubernetes-api', 'egress', 'orders -> anywhere:any'],
  ['edge', 'ingress', 'anywhere -> gateway:any'],
])('control: in production, %s that leaves open to where is seen', (name, direction, opened) => {
  const edges = productionEdges((policy) => {
    if (policy.metadata.name === name) policy.spec[direction] = [{}];
  });
  expect(edges).toContain(opened);
  expect(edges).not.toEqual(edgesOfProduction(topology));
});

test('control: in production, a way to the provider that leads into one’s own networks is seen', () => {
  const edges = productionEdges((policy) => {
    if (policy.metadata.name === 'payments-to-provider') delete policy.spec.egress[0].to[0].ipBlock.except;
  }, 'external.yaml');
  expect(edges).toContain('payments -> 0.0.0.0/0:443');
  expect(edges).not.toEqual(edgesOfProduction(topology));
});

/** Of the production overlay, after a change of one of its files. */
function productionEdges(change: (policy: Manifest) => void = () => {}, name = 'addresses.yaml'): string[] {
  const root = checkoutWithBroker('jetstream');
  const file = join(root, 'k8s/overlays/production', name);
  const policies = parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS());
  policies.forEach(change);
  writeFileSync(file, policies.map((policy) => JSON.stringify(policy)).join('\n---\n'));
  return allowedEdges(renderOverlay({ root, overlay: 'production' }), PORTS);
}

test.each([
  ['deny-all', 'anywhere -> platform'],
  ['to-broker', undefined],
  ['calls-of-orders', undefined],
  ['payments-to-provider', undefined],
  ['webhooks-of-provider', undefined],
])('control: without policy %s the result is another', (name, opened) => {
  const others = manifests.filter(({ kind, metadata }) => kind !== 'NetworkPolicy' || metadata.name !== name);
  expect(others).toHaveLength(manifests.length - 1);
  const edges = allowedEdges(others, PORTS);
  expect(edges).not.toEqual(edgesOf(topology));
  if (opened) expect(edges).toContain(opened);
});

test('control: a pod that takes on a label is seen to reach more', () => {
  const gateway = manifests.find(
    ({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'gateway',
  );
  Object.assign(gateway?.spec.template.metadata.labels, { 'uses-database': 'true' });
  expect(allowedEdges(manifests, PORTS)).toContain('gateway -> postgres:5432');
});

test('control: a rule that lets one caller more in is of no use without its other half, and with it shows', () => {
  const [caller, callee] = unrelated();
  const edge = `${caller} -> ${callee}:50002`;
  const before = allowedEdges(manifests, PORTS);
  expect(before).not.toContain(edge);
  const pod = (name = '') => ({ matchLabels: { 'app.kubernetes.io/name': name } });
  const policy = (name: string, spec: object): Manifest => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name },
    spec,
  });
  const ports = [{ port: 50002 }];
  const lets = policy('lets-in', {
    podSelector: pod(callee),
    policyTypes: ['Ingress'],
    ingress: [{ from: [{ podSelector: pod(caller) }], ports }],
  });
  expect(allowedEdges([...manifests, lets], PORTS)).toEqual(before);
  const goes = policy('goes-out', {
    podSelector: pod(caller),
    policyTypes: ['Egress'],
    egress: [{ to: [{ podSelector: pod(callee) }], ports }],
  });
  expect(allowedEdges([...manifests, lets, goes], PORTS)).toEqual([...before, edge].sort());
});

/** Two services of which the first does not call the second. */
function unrelated(): [string, string] {
  const names = topology.services.map(({ name }) => name);
  const pairs = names.flatMap((caller) => names.map((callee): [string, string] => [caller, callee]));
  const found = pairs.find(
    ([caller, callee]) =>
      caller !== callee && !topology.calls.some((call) => call.caller === caller && call.callee === callee),
  );
  if (!found)
    throw new Error('topology.yaml: every service calls every other, so this control has no pair left');
  return found;
}
