import { type Output, yamlFile } from './output.ts';
import { type Call, SECRET_STORE, type Service, secretsOf, type Topology } from './topology.ts';
import type { Operation } from './topology-schema.ts';

/** dapr/<app>/configuration.yaml: who may call the app, and what the app may ask of its own sidecar. */
export function configurationOutputs(topology: Topology): Output[] {
  return topology.services.map((service) => ({
    path: `dapr/${service.name}/configuration.yaml`,
    content: yamlFile('topology.yaml', [{ comment, value: configuration(service, topology) }]),
  }));
}

const comment = `
Reading the access rules: Dapr matches them segment by segment. A last * stands for one segment or none, so
/v1/quotes/* is /v1/quotes and what is one below; without it the rule would open everything below. In the
middle, Dapr never matches a single *, so *** stands for one segment there. The order is Dapr's: literal
segments before *, and * before ***.
`;

function configuration(service: Service, topology: Topology) {
  const callers = topology.services.filter((caller) =>
    topology.calls.some((call) => call.caller === caller.name && call.callee === service.name),
  );
  return {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'Configuration',
    metadata: { name: service.name },
    spec: {
      accessControl: {
        defaultAction: 'deny',
        trustDomain: 'public',
        policies: callers.map((caller) => ({
          appId: caller.name,
          defaultAction: 'deny',
          trustDomain: 'public',
          namespace: topology.namespace,
          operations: accessRules(
            topology.calls.filter((call) => call.caller === caller.name && call.callee === service.name),
          ),
        })),
      },
      api: {
        allowed: [
          { name: 'invoke', version: 'v1.0', protocol: 'http' },
          { name: 'publish', version: 'v1.0', protocol: 'http' },
          { name: 'secrets', version: 'v1.0', protocol: 'http' },
          { name: 'shutdown', version: 'v1.0', protocol: 'http' },
          // Dapr leaves a protocol open for which no rule is given, so this one closes the rest of gRPC.
          { name: 'metadata', version: 'v1', protocol: 'grpc' },
        ],
      },
      secrets: {
        scopes: [
          {
            storeName: SECRET_STORE,
            defaultAccess: 'deny',
            allowedSecrets: secretsOf(service.name, topology),
          },
        ],
      },
      // No tracing section: sidecars then hand the caller's traceparent on as it is. With a sampling rate of 0 they
      // would drop it; with another they add spans, which is for when there is a collector.
      metrics: { enabled: true, recordErrorCodes: true, http: { increasedCardinality: false } },
      // A sidecar keeps the files that it started with. Otherwise a change of a component, of these rules or of a
      // policy would reach the sidecars of all replicas at the same moment, each of which closes it or starts anew.
      features: [{ name: 'HotReload', enabled: false }],
    },
  };
}

/** One rule per path with all its verbs: Dapr keeps the first rule of a path and ignores a second one. */
export function accessRules(calls: Pick<Call, 'operations'>[]) {
  const verbs = new Map<string, Set<string>>();
  for (const operation of calls.flatMap((call) => call.operations)) {
    const name = accessPath(operation);
    verbs.set(name, (verbs.get(name) ?? new Set()).add(operation.method));
  }
  return [...verbs]
    .sort(([a], [b]) => compareRules(a, b))
    .map(([name, methods]) => ({ name, httpVerb: [...methods].sort(), action: 'allow' }));
}

function accessPath({ path }: Operation): string {
  const parts = path.split('/').map((part) => (part.startsWith('{') ? '***' : part));
  if (parts.at(-1) === '***') parts.pop();
  return [...parts, '*'].join('/');
}

/** Dapr takes the first segment that fits among siblings, in the order of the rules. */
function compareRules(a: string, b: string): number {
  const [left, right] = [a.split('/'), b.split('/')];
  for (const [index, part] of left.entries()) {
    const other = right[index];
    if (other === undefined) return 1;
    const difference = rank(part) - rank(other) || (part < other ? -1 : Number(part > other));
    if (difference !== 0) return difference;
  }
  return -1;
}

function rank(part: string): number {
  return ['*', '***'].indexOf(part);
}
