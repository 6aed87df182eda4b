import type { Broker } from './broker.ts';
import { type Output, yamlFile } from './output.ts';
import { EXTERNAL_PAUSE_MS, type External, SECRET_STORE, type Topology } from './topology.ts';

/** dapr/<app>/resiliency.yaml: a timeout for all that the app's sidecar does, and the few retries there are. */
export function resiliencyOutputs(topology: Topology, broker: Broker): Output[] {
  return topology.services.map(({ name }) => ({
    path: `dapr/${name}/resiliency.yaml`,
    content: yamlFile(`topology.yaml and components/brokers/${broker.name}.yaml`, [
      { comment, value: resiliency(name, topology, broker) },
    ]),
  }));
}

const comment = `
One document per file: Dapr ignores a second one.
Calls to other apps have the default policies and no target of their own, and no circuit breaker:
- With a target, Dapr also repeats a call that timed out or was denied, and keeps using a broken connection:
  after 40 s without the callee, calls failed for 7 s more; this way, none did.
- A breaker counts every answer but 2xx and 3xx: six requests with a typing mistake closed the shop to all.
An API outside has a target of its own, and a timeout for each attempt.
`;

/**
 * Dapr's own repeats of a call, by its name for them: only when the connection to the other sidecar failed, never
 * after an answer or a timeout. Quick, so that they fit into the caller's deadline; 3 is the least that Dapr takes.
 * Every operation in the table may be repeated: it reads, or it is idempotent by its key or by nature.
 */
const DaprBuiltInServiceRetries = { policy: 'constant', duration: '200ms', maxRetries: 3 };

function resiliency(app: string, topology: Topology, broker: Broker) {
  const calls = topology.calls.filter(({ caller }) => caller === app);
  const components = topology.topics
    .flatMap((topic) => topic.components)
    .filter(({ scopes }) => scopes.includes(app))
    .map(({ name }) => name);
  const { policies, target } = broker.resiliency;
  const externals = topology.externals.filter(({ users }) => users.includes(app));
  const retries = {
    ...(calls.length > 0 && { DaprBuiltInServiceRetries }),
    ...Object.fromEntries(
      externals.filter(({ retries }) => retries > 0).map((one) => [policyOf(one), externalRetry(one)]),
    ),
    ...(components.length > 0 && policies.retries),
  };
  return {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'Resiliency',
    metadata: { name: app },
    scopes: [app],
    spec: {
      policies: {
        timeouts: {
          // The longest in the table; for a shorter one, the caller itself gives up sooner.
          ...(calls.length > 0 && {
            DefaultAppTimeoutPolicy: `${Math.max(...calls.map((call) => call.timeoutMs))}ms`,
          }),
          secrets: '5s',
          ...Object.fromEntries(externals.map((one) => [policyOf(one), `${one.timeoutMs}ms`])),
          ...(components.length > 0 && policies.timeouts),
        },
        ...(Object.keys(retries).length > 0 && { retries }),
      },
      targets: {
        ...(externals.length > 0 && {
          apps: Object.fromEntries(
            externals.map((one) => [
              one.name,
              { timeout: policyOf(one), ...(one.retries > 0 && { retry: policyOf(one) }) },
            ]),
          ),
        }),
        components: {
          [SECRET_STORE]: { outbound: { timeout: 'secrets' } },
          ...Object.fromEntries(components.map((name) => [name, target])),
        },
      },
    },
  };
}

const policyOf = ({ name }: External) => `external-${name}`;

/**
 * No answer, or one that says that it was not worked on: such a request may be repeated at once, for the API knows it by its
 * idempotency key. The last attempt is not the last word: the service that asks goes on later.
 */
function externalRetry({ retries }: External) {
  return {
    policy: 'constant',
    duration: `${EXTERNAL_PAUSE_MS}ms`,
    maxRetries: retries,
    matching: { httpStatusCodes: '502-504', gRPCStatusCodes: '4,14' },
  };
}
