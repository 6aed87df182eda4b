import { beforeEach, expect, test } from 'vitest';
import { loadTopology, type Topology } from '../generator/topology.ts';
import type { Manifest } from './manifests.ts';
import { allowedEdges } from './network-edges.ts';
import { checkoutWithBroker, needsKubectl, renderOverlay } from './testing.ts';

const topology = loadTopology('topology.yaml');
/** All that listens in these pods, the sidecars' ports included, and one that nobody knows. */
const PORTS = [
  ...topology.services.map(({ port }) => port),
  ...[8080, 5432, 4222, 6379, 8222, 3500, 3501, 50001, 50002, 9090, 31_234],
];
let manifests: Manifest[];

beforeEach((context) => {
  needsKubectl(context);
  manifests = renderWith('jetstream');
});

const renderWith = (broker: string) =>
  renderOverlay({ root: checkoutWithBroker(broker), overlay: 'local', components: ['network-policies'] });

/** What the table says, without a look at what the generator makes of it. */
function edgesOf(
  { services, calls, topics, edge }: Topology,
  broker = { name: 'nats', port: 4222 },
): string[] {
  const names = services.map(({ name }) => name);
  const databases = services.filter(({ database }) => database).map(({ name }) => name);
  const messengers = new Set(topics.flatMap(({ publishers, consumers }) => [...publishers, ...consumers]));
  const all = [...names, 'platform', broker.name, 'postgres'];
  const edges = [
    ...calls.map(({ caller, callee }) => `${caller} -> ${callee}:50002`),
    ...[...databases, 'platform'].map((name) => `${name} -> postgres:5432`),
    ...[...messengers, 'platform'].map((name) => `${name} -> ${broker.name}:${broker.port}`),
    ...all.map((name) => `${name} -> kube-system/k8s-app=kube-dns:53`),
    ...names.map((name) => `${name} -> dapr-system/app=dapr-sentry:50001`),
    ...names.map((name) => `${name} -> dapr-system/app=dapr-operator:6500`),
    ...databases.flatMap((name) =>
      ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map((net) => `${name} -> ${net}:443,6443`),
    ),
    `envoy-gateway-system -> ${edge}:http`,
  ];
  return [...new Set(edges)].sort();
}

test('the policies open what the table says, and nothing else', () => {
  expect(allowedEdges(manifests, PORTS)).toEqual(edgesOf(topology));
});

test('with Redis the way is to its server and its port', () => {
  const edges = allowedEdges(renderWith('redis'), PORTS);
  expect(edges).toEqual(edgesOf(topology, { name: 'redis', port: 6379 }));
});

test.each([
  ['deny-all', 'anywhere -> platform'],
  ['to-broker', undefined],
  ['calls-of-orders', undefined],
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
  const policy = (name: string) =>
    manifests.find(({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.name === name)?.spec;
  const peer = (name: string) => ({ podSelector: { matchLabels: { 'app.kubernetes.io/name': name } } });
  policy('calls-of-orders').ingress[0].from.push(peer('inventory'));
  expect(allowedEdges(manifests, PORTS)).toEqual(edgesOf(topology));
  policy('calls-of-inventory').policyTypes.push('Egress');
  policy('calls-of-inventory').egress = [{ to: [peer('orders')], ports: [{ port: 50002 }] }];
  expect(allowedEdges(manifests, PORTS)).toContain('inventory -> orders:50002');
});
