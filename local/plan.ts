import type { External, Topology } from '../generator/topology.ts';
import type { PortRequest } from './ports.ts';

/** One process of a service; `orders`, or `orders-1` and so on where there are several. */
export interface Instance {
  name: string;
  service: string;
  edge: boolean;
  preferredPort: number;
}

/** One row per process of a service. */
export function planInstances(
  topology: Topology,
  replicas: Partial<Record<string, number>> = {},
): Instance[] {
  return topology.services.flatMap((service) => {
    const count = replicas[service.name] ?? service.replicas;
    return Array.from({ length: count }, (_, index) => ({
      name: count === 1 ? service.name : `${service.name}-${index + 1}`,
      service: service.name,
      edge: service.name === topology.edge,
      preferredPort: service.port + index * 10,
    }));
  });
}

/** What `--replicas` says, each as `orders=3`, or what is wrong with it. */
export function readReplicas(
  texts: string[],
  services: string[],
): { counts: Record<string, number> } | { fault: string } {
  const counts: Record<string, number> = {};
  for (const text of texts) {
    const [, name, count] = /^([a-z0-9-]+)=([1-9]\d?)$/.exec(text) ?? [];
    if (!name)
      return { fault: `--replicas ${text}: write it as orders=3, a service and a number from 1 to 99` };
    if (!services.includes(name))
      return { fault: `--replicas ${text}: no service is called ${name}; there are ${services.join(', ')}` };
    counts[name] = Number(count);
  }
  return { counts };
}

/** Names of the ports that belong to the shop as a whole, with the ones it would like. */
const SHARED_PORTS: readonly PortRequest[] = [
  { name: 'postgres', preferred: 15432 },
  { name: 'sentry', preferred: 15001 },
  { name: 'sentry-health', preferred: 15002 },
];

/** Every port of the shop. A sidecar's are its app's plus a fixed distance, so that they can be guessed. */
export function portRequests(
  instances: Instance[],
  broker: PortRequest,
  externals: Pick<External, 'name' | 'simulatorPort'>[] = [],
): PortRequest[] {
  const ofInstance = ({ name, preferredPort }: Instance): PortRequest[] => [
    { name, preferred: preferredPort },
    { name: `${name}-dapr-http`, preferred: preferredPort + 10_000 },
    { name: `${name}-dapr-grpc`, preferred: preferredPort + 12_000 },
    { name: `${name}-dapr-internal`, preferred: preferredPort + 14_000 },
    { name: `${name}-dapr-metrics`, preferred: preferredPort + 16_000 },
  ];
  const simulators = externals.flatMap(({ name, simulatorPort }) =>
    simulatorPort === undefined ? [] : [{ name, preferred: simulatorPort }],
  );
  return [...instances.flatMap(ofInstance), broker, ...SHARED_PORTS, ...simulators];
}

/** Public paths that can be asked for without knowing anything: one that answers shows the whole way through the sidecars. */
export function openReads(topology: Topology): string[] {
  return topology.calls
    .filter((call) => call.forwarded)
    .flatMap((call) => call.operations)
    .filter(({ method, path }) => method === 'GET' && !path.includes('{'))
    .map(({ path }) => path);
}

/** How many subscriptions the sidecars of these processes have together: one per lane of each topic that they read. */
export function subscriptionCount({ topics }: Topology, instances: Instance[]): number {
  return instances
    .flatMap(({ service }) => topics.filter(({ consumers }) => consumers.includes(service)))
    .reduce((sum, { components }) => sum + components.length, 0);
}
