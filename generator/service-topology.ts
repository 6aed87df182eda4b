import { header, type Output } from './output.ts';
import type { Call, Service, Topology } from './topology.ts';
import { externalSecret, PROBE_TOPIC, patienceWith, SECRET_STORE } from './topology.ts';
import type { Operation } from './topology-schema.ts';

/** The table as the services' code imports it. */
export function serviceTopologyOutput(topology: Topology): Output {
  return {
    path: 'packages/contracts/src/topology.generated.ts',
    content: `${header('topology.yaml', '// ')}\n${renderServiceTopology(topology)}`,
  };
}

/** The source of packages/contracts/src/topology.generated.ts: the table as constants for the services' code. */
export function renderServiceTopology(topology: Topology): string {
  const names = topology.services.map((service) => service.name);
  const rows = Object.fromEntries(
    topology.services.map((service) => [service.name, rowOf(service, topology)]),
  );
  const routes = topology.calls
    .filter((call) => call.forwarded)
    .flatMap((call) =>
      call.operations.map(({ method, path }) => ({
        method,
        path,
        service: call.callee,
        timeoutMs: call.timeoutMs,
        ...headersOf(call, { method, path }, topology),
      })),
    );
  return [
    "import type { PublicRoute, ServiceTopology } from './service-topology.ts';",
    '',
    `export const NAMESPACE = ${JSON.stringify(topology.namespace)};`,
    '',
    '/** The name of the Dapr secret store. */',
    `export const SECRET_STORE = ${JSON.stringify(SECRET_STORE)};`,
    '',
    '/** Publishing to this topic stores nothing: it shows whether the broker connection lives. */',
    `export const PROBE_TOPIC = ${JSON.stringify(PROBE_TOPIC)};`,
    '',
    `export const SERVICES = ${JSON.stringify(names)} as const;`,
    '',
    'export type ServiceName = (typeof SERVICES)[number];',
    '',
    `export const TOPOLOGY = ${JSON.stringify(rows, null, 2)} as const satisfies Record<ServiceName, ServiceTopology>;`,
    '',
    `export const PUBLIC_ROUTES = ${JSON.stringify(routes, null, 2)} as const satisfies readonly PublicRoute[];`,
    '',
  ].join('\n');
}

/** What a signature is made of has to reach whoever verifies it. */
function headersOf({ callee }: Call, { method, path }: Operation, { externals }: Topology) {
  const webhooks = externals.flatMap(({ webhooks }) => (webhooks?.service === callee ? [webhooks] : []));
  const headers = webhooks
    .filter(({ operation }) => operation.method === method && operation.path === path)
    .flatMap((webhook) => webhook.headers);
  return headers.length === 0 ? {} : { headers: [...new Set(headers)] };
}

function rowOf(service: Service, topology: Topology) {
  const consumed = topology.topics.filter((topic) => topic.consumers.includes(service.name));
  const published = topology.topics.filter((topic) => topic.publishers.includes(service.name));
  const calls = topology.calls.filter((call) => call.caller === service.name && !call.forwarded);
  const own = calls.filter(({ repairs }) => repairs === undefined);
  return {
    port: service.port,
    database: service.database,
    replicas: service.replicas,
    ...(service.topic && { owns: service.name }),
    ...(service.commands && { takes: `commands.${service.name}` }),
    sends: published.filter((topic) => topic.kind === 'command').map((topic) => topic.name),
    consumes: consumed.filter((topic) => topic.kind === 'fact').map((topic) => topic.name),
    publish: Object.fromEntries(published.map((topic) => [topic.name, topic.components[0]?.name])),
    components: topology.topics.flatMap((topic) =>
      topic.components.filter(({ scopes }) => scopes.includes(service.name)).map(({ name }) => name),
    ),
    subscriptions: consumed.map(({ name, kind }) => ({ topic: name, kind, route: `/messages/${name}` })),
    senders: calls.flatMap(({ callee, repairs }) =>
      repairs === undefined ? [] : [{ topic: repairs, sender: callee }],
    ),
    invokes: Object.fromEntries(
      own.map((call) => [
        call.callee,
        {
          timeoutMs: call.timeoutMs,
          operations: call.operations.map(({ method, path }) => `${method} ${path}`),
        },
      ]),
    ),
    externals: Object.fromEntries(
      topology.externals
        .filter(({ users }) => users.includes(service.name))
        .map((external) => [
          external.name,
          {
            timeoutMs: patienceWith(external),
            ...(external.secret.length > 0 && { secret: externalSecret(service.name, external.name) }),
          },
        ]),
    ),
  };
}
