import { beforeEach, expect, test } from 'vitest';
import { brokerServer } from '../generator/kubernetes.ts';
import { loadTopology } from '../generator/topology.ts';
import { differences } from './differences.ts';
import { byName } from './manifests.ts';
import { needsKubectl, renderOverlay } from './testing.ts';

interface Allowed {
  path: RegExp;
  because: string;
}

const externals = loadTopology('topology.yaml')
  .externals.map(({ name }) => name)
  .join('|');
const broker = brokerServer(loadTopology('topology.yaml').broker).name;

/** All that the overlay for production has otherwise than the local one. Each entry must be needed, or it goes. */
const ALLOWED: Allowed[] = [
  {
    path: new RegExp(
      `^(StatefulSet|Service|ServiceAccount)/(postgres|${broker})$|^ConfigMap/${broker}-\\w+$`,
    ),
    because: 'database and broker are in the cluster locally, elsewhere in production',
  },
  {
    path: new RegExp(
      `^(Deployment|PersistentVolumeClaim|Service|ServiceAccount|HTTPEndpoint)/(${externals})(\\.spec\\.baseUrl)?$`,
    ),
    because: 'locally simulators stand in for the HTTP APIs of others, which have an address in production',
  },
  {
    path: new RegExp(
      `^Deployment/[a-z0-9-]+\\.spec\\.template\\.metadata\\.annotations\\.sidecart\\.dev/address-of-(${externals})$`,
    ),
    because:
      'and another address comes with new pods, as in the local overlay by the hash of what sidecars read',
  },
  {
    path: /^Deployment\/platform(\.spec\.template)?\.metadata\.labels\.uses-database$|^Deployment\/platform\.spec\.template\.spec\.(initContainers|volumes\[database-logins\])$/,
    because:
      'locally platform makes the databases and their roles; in production whoever runs the server does',
  },
  {
    path: /^Deployment\/[a-z0-9-]+\.spec\.template\.spec\.(containers\[app\]|initContainers\[migrate\])\.image$/,
    because: 'a release from a registry, instead of what was built here',
  },
  {
    path: /^Deployment\/[a-z0-9-]+\.spec\.replicas$|^HorizontalPodAutoscaler\/[a-z0-9-]+$/,
    because: 'the autoscaler owns the number of replicas, and begins with three',
  },
  {
    path: /^Deployment\/[a-z0-9-]+\.spec\.template\.spec\.topologySpreadConstraints\[0\]\.(whenUnsatisfiable|minDomains)$/,
    because: 'replicas must be in different zones; locally there is one',
  },
  {
    path: /^Deployment\/[a-z0-9-]+\.spec\.template\.spec\.((containers\[app\]|initContainers\[migrate\])\.(env\[NODE_EXTRA_CA_CERTS\]|volumeMounts\[backing-ca\])|volumes\[backing-ca\])$/,
    because: 'database and broker may have certificates of a private authority',
  },
  {
    path: /^Deployment\/[a-z0-9-]+\.spec\.template\.metadata\.annotations\.dapr\.io\/(env|volume-mounts)$/,
    because: 'and their sidecars know that authority too',
  },
  {
    path: /^Deployment\/[a-z0-9-]+\.spec\.template\.(spec\.containers\[app\]\.resources\.requests\.cpu|metadata\.annotations\.dapr\.io\/sidecar-cpu-request)$/,
    because: 'locally all of it fits into two processors; in production each has what it uses at its work',
  },
  { path: /^NetworkPolicy\/[a-z0-9-]+$/, because: 'a component that not every local cluster enforces' },
  {
    path: /^(Gateway|HTTPRoute)\/[a-z-]+$/,
    because: 'a component that needs a controller and a certificate',
  },
];

beforeEach(needsKubectl);

const localAndProduction = () => {
  const [local, production] = ['local', 'production'].map((overlay) => byName(renderOverlay({ overlay })));
  return differences(local, production);
};

test('local and production differ in what is written here, and in nothing else', () => {
  const paths = localAndProduction().map(({ path }) => path);
  expect(paths.filter((path) => !ALLOWED.some((allowed) => allowed.path.test(path)))).toEqual([]);
  expect(ALLOWED.filter((allowed) => !paths.some((path) => allowed.path.test(path)))).toEqual([]);
});

/** kustomize replaces such a value as a whole, so backing-ca says again what the template and _database say. */
test('the sidecar settings that production adds to still begin with those of the local overlay', () => {
  const lists = localAndProduction().filter(({ path }) => /\.dapr\.io\/(env|volume-mounts)$/.test(path));
  expect(lists.length).toBeGreaterThan(1);
  for (const { path, left, right } of lists)
    expect({ path, right }).toEqual({ path, right: expect.stringMatching(new RegExp(`^${left},`)) });
});
