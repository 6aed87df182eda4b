import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { differences } from '../../k8s/differences.ts';
import { byName, render } from '../../k8s/manifests.ts';
import { portForward } from '../../k8s/port-forward.ts';
import { type DatabasePasswords, ensureDatabases } from '../../platform/databases.ts';
import { openShop } from '../e2e/open-shop.ts';
import { orderEnds, placeOrder, productWithStock, query, stockOf, type Target, until } from '../e2e/shop.ts';
import { type ClusterAccess, clusterShop, topology } from './cluster-shop.ts';
import { makeSecrets } from './install.ts';
import { apply, exists, type KubeObject, kubectl, list, secretValue } from './kubectl.ts';
import { makeNamespace, removeNamespace } from './namespace.ts';
import { overlayWith } from './overlay.ts';
import { answerTo } from './reach.ts';
import { skip } from './skip.ts';
import { standInBroker } from './stand-in-brokers.ts';
import { startStandIns } from './stand-ins.ts';
import { livePods, nameLabel, waitUntilReady } from './workloads.ts';

const { images, namespace } = inject('cluster') as ClusterAccess;
const NAMESPACE = 'shop-production';
const BACKING = 'shop-backing';
const broker = standInBroker(topology.broker);
const services = topology.services.map(({ name }) => name);

/** What of the overlay for production does not fit a small local cluster that has the local shop as well, and nothing else. */
function asCopy(objects: KubeObject[], providerUrl: string): KubeObject[] {
  return structuredClone(objects).map((object) => {
    if (object.kind === 'HTTPEndpoint') object.spec.baseUrl = providerUrl;
    if (object.metadata.name === 'payments-to-provider') {
      const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': BACKING } };
      const { port } = new URL(providerUrl);
      object.spec.egress = [
        { to: [{ namespaceSelector }], ports: [{ protocol: 'TCP', port: Number(port) }] },
      ];
    }
    if (object.kind === 'HorizontalPodAutoscaler') object.spec.maxReplicas = object.spec.minReplicas;
    if (object.kind !== 'Deployment') return object;
    const { spec, metadata } = object.spec.template;
    for (const constraint of spec.topologySpreadConstraints ?? []) {
      constraint.whenUnsatisfiable = 'ScheduleAnyway';
      delete constraint.minDomains; // goes with DoNotSchedule only
    }
    for (const container of [...(spec.initContainers ?? []), ...spec.containers])
      container.resources.requests.cpu = '5m';
    if (metadata.annotations) metadata.annotations['dapr.io/sidecar-cpu-request'] = '5m';
    return object;
  });
}

/** All of it, besides the namespace. */
const COPY_DIFFERS = [
  /^HorizontalPodAutoscaler\/[a-z0-9-]+\.spec\.maxReplicas$/,
  // The provider is a simulator in another namespace, without TLS.
  /^HTTPEndpoint\/provider\.spec\.baseUrl$/,
  /^NetworkPolicy\/payments-to-provider\.spec\.egress/,
  /^Deployment\/[a-z0-9-]+\.spec\.template\.spec\.topologySpreadConstraints\[\d\]\.(whenUnsatisfiable|minDomains)$/,
  /^Deployment\/[a-z0-9-]+\.spec\.template\.spec\.(initC|c)ontainers\[[a-z]+\]\.resources\.requests\.cpu$/,
  /^Deployment\/[a-z0-9-]+\.spec\.template\.metadata\.annotations\.dapr\.io\/sidecar-cpu-request$/,
];

/** What the database says to a client that wants no TLS. Tried from a pod of the local shop, over the network. */
function loginToDatabase(where: string, user: string): Promise<string> {
  const parameters = `user\0${user}\0database\0orders\0\0`;
  const head = Buffer.alloc(8);
  head.writeInt32BE(head.length + parameters.length);
  head.writeInt32BE(196_608, 4); // version 3.0 of the protocol
  return answerTo(namespace, 'deployment/orders', `postgres.${where}.svc:5432`, `${head}${parameters}`);
}

/** The same of the broker, with the login that the sidecars of `shopOf` have. */
async function loginToBroker(where: string, shopOf: string): Promise<string> {
  const { hostname, port, username, password } = new URL(await secretValue('broker', 'url', shopOf));
  const [user, pass] = [username, password].map(decodeURIComponent);
  return answerTo(
    namespace,
    'deployment/orders',
    `${hostname.split('.')[0]}.${where}.svc:${port}`,
    broker.login(user as string, pass as string),
  );
}

let overlay: KubeObject[];
let copy: KubeObject[];
let shop: Target;

beforeAll(async () => {
  overlay = render(overlayWith('production', { images, namespace: NAMESPACE }));
  await makeNamespace(BACKING);
  await makeNamespace(NAMESPACE);
  const { database, brokerFile, authorityFile, provider } = await startStandIns(BACKING, images);
  copy = asCopy(overlay, provider.url);
  // What an operator got from the provider is there before the other Secrets are made.
  await apply([
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'payments-provider', namespace: NAMESPACE },
      stringData: provider.secret,
    },
  ]);
  await waitUntilReady(BACKING, console.log);
  const outside = ['--database', database, '--broker', `@${brokerFile}`, '--ca', authorityFile];
  await makeSecrets(NAMESPACE, ...outside);
  await makeDatabases();
  const hasGateways = await exists('customresourcedefinition', 'httproutes.gateway.networking.k8s.io');
  const isGateway = ({ apiVersion }: KubeObject) => apiVersion.startsWith('gateway.networking.k8s.io/');
  await apply(copy.filter((object) => object.kind !== 'Namespace' && (hasGateways || !isGateway(object))));
  await until(
    'the autoscalers to ask for three of each',
    async () => {
      const deployments = await list('deployments', NAMESPACE, 'app.kubernetes.io/component=service');
      return deployments.length === services.length && deployments.every(({ spec }) => spec.replicas === 3);
    },
    120_000,
    1_000,
  );
  await waitUntilReady(NAMESPACE, console.log, 420_000);
  shop = await clusterShop({ namespace: NAMESPACE, images, backing: BACKING });
}, 900_000);
afterAll(async () => {
  await shop?.stop();
  await removeNamespace(NAMESPACE);
  await removeNamespace(BACKING);
});

/** What whoever runs the database server outside does: databases and roles, with the passwords that the Secrets have. */
async function makeDatabases(): Promise<void> {
  const passwords: DatabasePasswords = {};
  for (const { name } of topology.services.filter(({ database }) => database)) {
    const password = async (secret: string) => new URL(await secretValue(secret, 'url', NAMESPACE)).password;
    passwords[name] = {
      appPassword: await password(`${name}-db`),
      ownerPassword: await password(`${name}-db-owner`),
    };
  }
  const forward = await portForward(BACKING, 'service/postgres', [5432]);
  const admin = new URL(await secretValue('postgres-admin', 'url', BACKING));
  admin.hostname = '127.0.0.1';
  admin.port = String(forward.ports[0]);
  await ensureDatabases(admin.href, passwords);
  forward.stop();
}

describe('the overlay for production, with stand-ins for database, broker and provider', () => {
  test('is applied as it is but for what a small cluster cannot have', () => {
    const paths = differences(byName(overlay), byName(copy)).map(({ path }) => path);
    expect(paths.filter((path) => !COPY_DIFFERS.some((allowed) => allowed.test(path)))).toEqual([]);
  });

  test('has three replicas of each service, and takes orders to their end', async () => {
    for (const service of services)
      expect(await livePods(NAMESPACE, nameLabel(service)), service).toHaveLength(3);
    const sku = await productWithStock(shop.gatewayUrl, 20);
    const placed = await Promise.all(
      Array.from({ length: 12 }, () => placeOrder(shop.gatewayUrl, [{ sku, quantity: 1 }])),
    );
    for (const { body } of placed) expect(await orderEnds(shop.gatewayUrl, body.id)).toBe('confirmed');
    await until('the stock to move once', async () => (await stockOf(shop.gatewayUrl, sku)).committed === 12);
  });

  test('reaches database and broker by TLS, and they let nobody in without', async () => {
    const connections = await query<{ usename: string; ssl: boolean }>(
      shop,
      'orders',
      "SELECT usename, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename LIKE '%\\_app'",
    );
    expect(connections.length).toBeGreaterThan(0);
    expect(connections.filter(({ ssl }) => !ssl)).toEqual([]);
    // The owner's connections, of a migration or of the platform's work, are over before one can look at them.
    for (const user of ['orders_app', 'orders_owner'])
      expect(await loginToDatabase(BACKING, user)).toMatch(/^E.*no pg_hba\.conf entry.*no encryption/s);
    const answer = await loginToBroker(BACKING, NAMESPACE);
    expect(answer).toMatch(broker.refusal);
    expect(answer).not.toContain('PONG');
  });

  test('control: those of the local shop, without TLS, hear the same logins out', async () => {
    expect(await loginToDatabase(namespace, 'orders_app')).toMatch(/^R.*SCRAM-SHA-256/s);
    expect(await loginToBroker(namespace, namespace)).toContain('PONG');
  });

  test('lets one pod of a service be evicted at a time', async () => {
    const pods = (await livePods(NAMESPACE, nameLabel('inventory'))).map(({ metadata }) => metadata.name);
    const evict = (name: string | undefined) =>
      kubectl(['create', '--raw', `/api/v1/namespaces/${NAMESPACE}/pods/${name}/eviction`, '-f', '-'], {
        input: JSON.stringify({
          apiVersion: 'policy/v1',
          kind: 'Eviction',
          metadata: { name, namespace: NAMESPACE },
        }),
      });
    await evict(pods[0]);
    await expect(evict(pods[1])).rejects.toThrow(/disruption budget/);
    await waitUntilReady(NAMESPACE, console.log);
  });

  test('scales by the processor time that its pods use', async (context) => {
    if (!(await exists('apiservice', 'v1beta1.metrics.k8s.io')))
      return skip(context, 'this cluster has no metrics-server');
    await until(
      'every autoscaler to have a figure',
      async () => {
        const autoscalers = await list('horizontalpodautoscalers', NAMESPACE);
        return (
          autoscalers.length === services.length &&
          autoscalers.every(({ status }) =>
            (status?.conditions ?? []).some(
              (condition: { type: string; status: string }) =>
                condition.type === 'ScalingActive' && condition.status === 'True',
            ),
          )
        );
      },
      180_000,
      2_000,
    );
  });
});

test('the local shop beside it is another one', async () => {
  const local = await openShop();
  try {
    const sku = await productWithStock(shop.gatewayUrl, 1);
    expect((await fetch(new URL(`/v1/products/${sku}`, local.gatewayUrl))).status).toBe(404);
  } finally {
    await local.stop();
  }
});
