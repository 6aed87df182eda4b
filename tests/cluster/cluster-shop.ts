import { fileURLToPath } from 'node:url';
import { loadTopology } from '../../generator/topology.ts';
import { type PortForward, portForward } from '../../k8s/port-forward.ts';
import { openReads } from '../../local/plan.ts';
import { databaseUrl } from '../../platform/databases.ts';
import { call, type Target, until } from '../e2e/shop.ts';
import { kubectl, secretValue } from './kubectl.ts';
import { scale } from './workloads.ts';

/** Where the shop under test is; `globalSetup` hands it to the test files. */
export interface ClusterAccess {
  namespace: string;
  /** Where the images are, by service, as pods name them. */
  images: Record<string, string>;
  /** The namespace of its database, where that is another one. */
  backing?: string;
}

export const topology = loadTopology(fileURLToPath(new URL('../../topology.yaml', import.meta.url)));

/** What stands in, in the local overlay, for the companies whose APIs the shop uses, and the port of each. */
export const simulators = topology.externals.flatMap(({ simulatorPort, ...external }) =>
  simulatorPort ? [{ ...external, port: simulatorPort }] : [],
);

const DAPR_HTTP = 3500;
const DAPR_INTERNAL = 50002;
const POSTGRES = 5432;

/** The shop on the cluster as the end-to-end tests see it, through port-forwards; `stop` ends these and leaves the shop. */
export async function clusterShop({ namespace, backing = namespace }: ClusterAccess): Promise<Target> {
  const services = topology.services.map(({ name }) => name);
  const forwards = new Map<string, PortForward>();
  const tokens = new Map<string, { apiToken: string; appToken: string }>();
  const stop = async () => {
    for (const forward of forwards.values()) forward.stop();
  };
  const forward = async (name: string, target: string, ports: number[], where = namespace) =>
    forwards.set(name, await portForward(where, target, ports));
  try {
    await Promise.all([
      forward('gateway service', `service/${topology.edge}`, [80]),
      forward('postgres', 'service/postgres', [POSTGRES], backing),
      ...topology.services.map(async ({ name, port }) => {
        await forward(name, `deployment/${name}`, [port, DAPR_HTTP, DAPR_INTERNAL]);
        tokens.set(name, {
          apiToken: await secretValue(`${name}-api-token`, 'token', namespace),
          appToken: await secretValue(`${name}-app-token`, 'token', namespace),
        });
      }),
    ]);
  } catch (err) {
    await stop();
    throw err;
  }
  const portsOf = (name: string) => forwards.get(name)?.ports ?? [];
  const gatewayUrl = `http://127.0.0.1:${portsOf('gateway service')[0]}`;
  const admin = new URL(await secretValue('postgres-admin', 'url', backing));
  admin.hostname = '127.0.0.1';
  admin.port = String(portsOf('postgres')[0]);
  // Ready is each pod for itself; right after the first start a name may not be known to a neighbour's sidecar yet.
  for (const path of openReads(topology))
    await until(
      `${path} to be answered through the gateway`,
      async () => (await call(gatewayUrl, 'GET', path)).status === 200,
    );

  return {
    gatewayUrl,
    endpoints(name) {
      const token = tokens.get(name);
      if (!token) throw new Error(`no service is called ${name}; there are ${services.join(', ')}`);
      const [appPort = 0, daprHttpPort = 0, daprInternalPort = 0] = portsOf(name);
      return {
        appPort,
        daprHttpPort,
        daprInternalPort,
        appToken: token.appToken,
        daprApiToken: token.apiToken,
      };
    },
    components: (topic) =>
      topology.topics.find(({ name }) => name === topic)?.components.map(({ name }) => name) ?? [],
    adminUrl: (database) => databaseUrl(admin.href, database),
    log: (service) =>
      kubectl(['logs', '-n', namespace, '-l', `app.kubernetes.io/name=${service}`, '-c', 'app', '--tail=-1']),
    hold: (service) => scale(namespace, `deployment/${service}`, 0),
    release: (service) => scale(namespace, `deployment/${service}`, 1),
    // From inside: a port-forward would end with the pod.
    async ledger() {
      const { name, port } = simulators.find((simulator) => simulator.name === 'provider') ?? {};
      const program = `fetch('http://127.0.0.1:${port}/ledger').then((answer) => answer.text()).then(console.log)`;
      const inside = ['exec', '-n', namespace, `deployment/${name}`, '-c', 'app', '--', 'node', '--eval'];
      return JSON.parse(await kubectl([...inside, program])).items;
    },
    stop,
  };
}
