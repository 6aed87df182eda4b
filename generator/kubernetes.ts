import { createHash } from 'node:crypto';
import { parseAllDocuments } from 'yaml';
import { type Output, yamlFile } from './output.ts';
import { type External, externalSecret, type Service, type Topology } from './topology.ts';

const SOURCE = 'topology.yaml';
const KUSTOMIZE = 'kustomize.config.k8s.io/v1beta1';
const PART_OF = { 'app.kubernetes.io/part-of': 'sidecart' };

/** The port on which a sidecar answers other sidecars. */
export const SIDECAR_PORT = 50002;

/** Where the documented ingress controller runs its proxies. */
const INGRESS_NAMESPACE = 'envoy-gateway-system';

/** Replicas of a service that scales: what its row says, but one per zone of three at least; and three times that at most. */
const SCALE = { min: 3, growth: 3 };

/** Files in k8s/base that are written by hand, in a folder that is otherwise generated. */
export function isHandWritten(path: string): boolean {
  return /^k8s\/base\/(_|platform\/)/.test(path);
}

/**
 * What of k8s/ repeats the table: the base, the rules between services, the autoscalers, the databases to make.
 * @param dapr the files of components/ and dapr/
 */
export function kubernetesOutputs(topology: Topology, dapr: Output[]): Output[] {
  return [
    base(topology),
    namespace(topology),
    ...topology.services.flatMap((service) => serviceFolder(service, topology, dapr)),
    networkPolicies(topology),
    externalPolicies(topology),
    simulators(topology),
    ...brokerOutputs(topology),
    route(topology),
    autoscalers(topology),
    databaseSecrets(topology),
    callersNamespace(topology),
  ];
}

function base({ namespace, services }: Topology): Output {
  return yaml('k8s/base/kustomization.yaml', {
    apiVersion: KUSTOMIZE,
    kind: 'Kustomization',
    namespace,
    resources: [
      'namespace.yaml',
      ...services.map(({ name }) => name).sort(),
      'platform',
      // The files of local mode, as they are.
      '../../components',
      '../../dapr',
    ],
  });
}

function namespace({ namespace: name }: Topology): Output {
  const levels = ['enforce', 'audit', 'warn'].map((mode) => [
    `pod-security.kubernetes.io/${mode}`,
    'restricted',
  ]);
  return yaml(
    'k8s/base/namespace.yaml',
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels: { ...PART_OF, ...Object.fromEntries(levels) } },
    },
    'Every pod here keeps to the restricted Pod Security Standard, or is not admitted.',
  );
}

/** What one service says of itself; the rest is in k8s/base/_service and its neighbours. */
function serviceFolder(service: Service, topology: Topology, dapr: Output[]): Output[] {
  const usesBroker = topology.topics.some((topic) =>
    topic.components.some(({ scopes }) => scopes.includes(service.name)),
  );
  return [
    yaml(`k8s/base/${service.name}/kustomization.yaml`, {
      apiVersion: KUSTOMIZE,
      kind: 'Kustomization',
      resources: ['service.yaml'],
      components: [
        '../_service',
        ...(service.database ? ['../_database'] : []),
        ...(usesBroker ? ['../_broker'] : []),
      ],
      ...readableSecrets(service, topology),
    }),
    yaml(`k8s/base/${service.name}/service.yaml`, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        name: service.name,
        // For kustomize only: it does not reach the cluster.
        annotations: { 'config.kubernetes.io/local-config': 'true' },
      },
      data: {
        port: String(service.port),
        replicas: String(service.replicas),
        dapr: hashOfResources(service.name, dapr),
      },
    }),
  ];
}

/** The Secrets for external APIs, beside the one of the database that `_database` opens. */
function readableSecrets({ name }: Service, { externals }: Topology) {
  const secrets = externals.filter(({ users, secret }) => users.includes(name) && secret.length > 0);
  if (secrets.length === 0) return {};
  const patch = secrets.map((external) => ({
    op: 'add',
    path: '/rules/0/resourceNames/-',
    value: externalSecret(name, external.name),
  }));
  return { patches: [{ target: { kind: 'Role' }, patch: JSON.stringify(patch) }] };
}

/**
 * Stands for what the app's sidecar reads when it starts. It is in the pod's template, so that a release which changes it makes
 * new pods, one after the other, and the old ones serve with what they have.
 */
function hashOfResources(app: string, dapr: Output[]): string {
  const read = dapr
    .filter(({ path }) => /^components\/[^/]+$|^dapr\//.test(path))
    .flatMap(({ content }) => parseAllDocuments(content).map((document) => document.toJS()))
    .filter(
      ({ kind, metadata, scopes }) =>
        kind !== 'Kustomization' && (scopes === undefined ? metadata.name === app : scopes.includes(app)),
    );
  return createHash('sha256').update(JSON.stringify(read)).digest('hex').slice(0, 12);
}

/** Who may call whom, one policy per service, and the way in; the rest is in k8s/components/network-policies/policies.yaml. */
function networkPolicies({ services, calls, edge }: Topology): Output {
  const pods = (names: string[]) =>
    [...new Set(names)].sort().map((name) => ({ podSelector: podLabels(name) }));
  const ports = [{ protocol: 'TCP', port: SIDECAR_PORT }];
  const policies = services.flatMap(({ name }) => {
    const callers = pods(calls.filter(({ callee }) => callee === name).map(({ caller }) => caller));
    const callees = pods(calls.filter(({ caller }) => caller === name).map(({ callee }) => callee));
    const types = [...(callers.length > 0 ? ['Ingress'] : []), ...(callees.length > 0 ? ['Egress'] : [])];
    if (types.length === 0) return [];
    return networkPolicy(`calls-of-${name}`, name, {
      policyTypes: types,
      ...(callers.length > 0 ? { ingress: [{ from: callers, ports }] } : {}),
      ...(callees.length > 0 ? { egress: [{ to: callees, ports }] } : {}),
    });
  });
  const wayIn = networkPolicy('edge', edge, {
    policyTypes: ['Ingress'],
    ingress: [
      {
        from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': INGRESS_NAMESPACE } } }],
        ports: [{ protocol: 'TCP', port: 'http' }],
      },
    ],
  });
  return {
    path: 'k8s/components/network-policies/calls.generated.yaml',
    content: yamlFile(
      SOURCE,
      [...policies, wayIn].map((value) => ({ value })),
    ),
  };
}

function networkPolicy(name: string, service: string, rules: object) {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, labels: PART_OF },
    spec: { podSelector: podLabels(service), ...rules },
  };
}

/** One that an overlay without simulators takes out by its label: there, any pod that has their name would be let in. */
function simulatorPolicy(name: string, pod: string, rules: object) {
  const policy = networkPolicy(name, pod, rules);
  const labels = { ...policy.metadata.labels, 'app.kubernetes.io/component': 'simulator' };
  return { ...policy, metadata: { name, labels } };
}

/** Who may call which external API: for an overlay with another address than the simulator's to say where that is. */
function externalPolicies({ externals, edge }: Topology): Output {
  const policies = externals.flatMap(({ name, users, baseUrl, simulatorPort, webhooks }) => {
    const port = simulatorPort ?? Number(new URL(baseUrl).port || 443);
    const ports = [{ protocol: 'TCP', port }];
    const to =
      simulatorPort === undefined
        ? [{ ipBlock: { cidr: '0.0.0.0/0', except: PRIVATE } }]
        : [{ podSelector: podLabels(name) }];
    const calls = users.map((user) =>
      networkPolicy(`${user}-to-${name}`, user, { policyTypes: ['Egress'], egress: [{ to, ports }] }),
    );
    if (simulatorPort === undefined) return calls;
    const from = users.map((user) => ({ podSelector: podLabels(user) }));
    const backs = [{ protocol: 'TCP', port: 'http' }];
    return [
      ...calls,
      simulatorPolicy(name, name, {
        policyTypes: ['Ingress', ...(webhooks ? ['Egress'] : [])],
        ingress: [{ from, ports }],
        ...(webhooks && { egress: [{ to: [{ podSelector: podLabels(edge) }], ports: backs }] }),
      }),
      ...(webhooks
        ? [
            simulatorPolicy(`webhooks-of-${name}`, edge, {
              policyTypes: ['Ingress'],
              ingress: [{ from: [{ podSelector: podLabels(name) }], ports: backs }],
            }),
          ]
        : []),
    ];
  });
  return {
    path: 'k8s/components/network-policies/external.generated.yaml',
    content: yamlFile(
      SOURCE,
      policies.map((value) => ({ value })),
    ),
  };
}

/** Where an API of others is not. */
const PRIVATE = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '169.254.0.0/16'];

/** What stands in for the APIs of others in the local overlay: each is a program of its own image, without a sidecar. */
function simulators({ externals, edge }: Topology): Output {
  const standIns = externals.flatMap((external) =>
    external.simulatorPort === undefined ? [] : simulatorObjects(external, external.simulatorPort, edge),
  );
  return {
    path: 'k8s/components/simulators/simulators.generated.yaml',
    content: yamlFile(
      SOURCE,
      standIns.map((value) => ({ value })),
    ),
  };
}

/** Where a simulator's volume is. */
const BOOKS = '/data';

function simulatorObjects({ name, users, secret, webhooks }: External, port: number, edge: string): object[] {
  const labels = { 'app.kubernetes.io/name': name, 'app.kubernetes.io/component': 'simulator', ...PART_OF };
  const metadata = { name, labels };
  const [user = ''] = users;
  const env = [
    { name: 'PORT', value: String(port) },
    { name: 'HOST', value: '0.0.0.0' },
    { name: 'STATE_FILE', value: `${BOOKS}/operations.jsonl` },
    ...(webhooks ? [{ name: 'WEBHOOK_URL', value: `http://${edge}${webhooks.operation.path}` }] : []),
    ...secret.map((key) => ({
      name: key.toUpperCase(),
      valueFrom: { secretKeyRef: { name: externalSecret(user, name), key } },
    })),
  ];
  const probe = (path: string) => ({ httpGet: { path, port: 'http' }, timeoutSeconds: 2 });
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata, automountServiceAccountToken: false },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: {
        selector: { 'app.kubernetes.io/name': name },
        ports: [{ name: 'http', port, targetPort: 'http', protocol: 'TCP' }],
      },
    },
    {
      // It outlives the pod: a provider that forgets what it holds refuses the money of goods that have left.
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata,
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        // It keeps its books in its own file: two would be two companies.
        replicas: 1,
        revisionHistoryLimit: 3,
        strategy: { type: 'Recreate' },
        selector: { matchLabels: { 'app.kubernetes.io/name': name } },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: name,
            automountServiceAccountToken: false,
            enableServiceLinks: false,
            terminationGracePeriodSeconds: 10,
            securityContext: {
              runAsNonRoot: true,
              runAsUser: 10001,
              runAsGroup: 10001,
              fsGroup: 10001,
              seccompProfile: { type: 'RuntimeDefault' },
            },
            containers: [
              {
                name: 'app',
                image: `sidecart/${name}`,
                imagePullPolicy: 'IfNotPresent',
                ports: [{ name: 'http', containerPort: port, protocol: 'TCP' }],
                env,
                resources: {
                  requests: { cpu: '10m', memory: '64Mi', 'ephemeral-storage': '16Mi' },
                  limits: { cpu: '500m', memory: '192Mi', 'ephemeral-storage': '128Mi' },
                },
                startupProbe: { ...probe('/livez'), periodSeconds: 1, failureThreshold: 60 },
                livenessProbe: {
                  ...probe('/livez'),
                  periodSeconds: 10,
                  timeoutSeconds: 5,
                  failureThreshold: 3,
                },
                readinessProbe: { ...probe('/readyz'), periodSeconds: 2, failureThreshold: 2 },
                securityContext: {
                  allowPrivilegeEscalation: false,
                  readOnlyRootFilesystem: true,
                  capabilities: { drop: ['ALL'] },
                },
                volumeMounts: [{ name: 'data', mountPath: BOOKS }],
              },
            ],
            volumes: [{ name: 'data', persistentVolumeClaim: { claimName: name } }],
          },
        },
      },
    },
  ];
}

interface BrokerServer {
  /** Of its component in k8s/components/ and of every object in there. */
  name: string;
  port: number;
}

/** The servers in the cluster, by the broker of the table. */
const BROKER_SERVERS: Partial<Record<string, BrokerServer>> = {
  jetstream: { name: 'nats', port: 4222 },
  redis: { name: 'redis', port: 6379 },
};

/** @throws Error for a broker that has no server here. */
export function brokerServer(broker: string): BrokerServer {
  const server = BROKER_SERVERS[broker];
  if (server) return server;
  throw new Error(
    `topology.yaml: broker ${broker} has no server in generator/kubernetes.ts. Add its component and port there, or use one of ${Object.keys(BROKER_SERVERS).join(', ')}.`,
  );
}

/** Which server the local overlay has, and the way to the broker; an overlay with another says where that is. */
function brokerOutputs({ broker }: Topology): Output[] {
  const server = brokerServer(broker);
  const users = { podSelector: { matchLabels: { 'uses-broker': 'true' } } };
  const servers = { podSelector: { matchLabels: { 'app.kubernetes.io/component': 'broker' } } };
  const ports = [{ protocol: 'TCP', port: server.port }];
  const policy = (name: string, spec: object) => ({
    value: {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name, labels: PART_OF },
      spec,
    },
  });
  return [
    yaml(
      'k8s/components/broker/kustomization.yaml',
      {
        apiVersion: 'kustomize.config.k8s.io/v1alpha1',
        kind: 'Component',
        components: [`../${server.name}`],
      },
      'The server of the broker that the table names, for an overlay that has it in the cluster.',
    ),
    {
      path: 'k8s/components/network-policies/broker.generated.yaml',
      content: yamlFile(SOURCE, [
        policy('to-broker', { ...users, policyTypes: ['Egress'], egress: [{ to: [servers], ports }] }),
        policy('broker', { ...servers, policyTypes: ['Ingress'], ingress: [{ from: [users], ports }] }),
      ]),
    },
  ];
}

/** What the edge says to everybody. The rest, its health and metrics, is for those inside. */
const PUBLIC_PATHS = [
  { type: 'PathPrefix', value: '/v1' },
  { type: 'PathPrefix', value: '/docs' },
  { type: 'PathPrefix', value: '/problems' },
  { type: 'Exact', value: '/openapi.json' },
  { type: 'Exact', value: '/' },
];

/** From the listeners of k8s/components/ingress/gateway.yaml to the edge; without TLS only to the address with it. */
function route({ edge }: Topology): Output {
  const httpRoute = (name: string, listener: string, rule: object) => ({
    value: {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name, labels: PART_OF },
      spec: { parentRefs: [{ name: 'shop', sectionName: listener }], rules: [rule] },
    },
  });
  const toHttps = { type: 'RequestRedirect', requestRedirect: { scheme: 'https', statusCode: 301 } };
  return {
    path: 'k8s/components/ingress/routes.generated.yaml',
    content: yamlFile(SOURCE, [
      httpRoute('shop', 'https', {
        matches: PUBLIC_PATHS.map((path) => ({ path })),
        backendRefs: [{ name: edge, port: 80 }],
      }),
      httpRoute('shop-to-https', 'http', { filters: [toHttps] }),
    ]),
  };
}

function autoscalers({ services }: Topology): Output {
  return {
    path: 'k8s/components/autoscaling/autoscalers.generated.yaml',
    content: yamlFile(
      SOURCE,
      services.map(({ name, replicas }) => ({
        value: {
          apiVersion: 'autoscaling/v2',
          kind: 'HorizontalPodAutoscaler',
          metadata: { name, labels: { 'app.kubernetes.io/name': name, ...PART_OF } },
          spec: {
            scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name },
            minReplicas: Math.max(SCALE.min, replicas),
            maxReplicas: Math.max(SCALE.min, replicas) * SCALE.growth,
            metrics: [
              {
                type: 'Resource',
                resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } },
              },
            ],
            behavior: {
              scaleDown: {
                stabilizationWindowSeconds: 300,
                policies: [{ type: 'Pods', value: 1, periodSeconds: 60 }],
              },
            },
          },
        },
      })),
    ),
  };
}

/** The logins of all databases as files, for the step that makes them. */
function databaseSecrets({ services }: Topology): Output {
  const secrets = services
    .filter(({ database }) => database)
    .flatMap(({ name }) => [`${name}-db`, `${name}-db-owner`]);
  return yaml('k8s/components/databases/logins.generated.yaml', {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'platform' },
    spec: {
      template: {
        spec: {
          volumes: [
            {
              name: 'database-logins',
              projected: {
                sources: secrets.map((name) => ({
                  secret: { name, items: [{ key: 'url', path: `${name}/url` }] },
                })),
              },
            },
          ],
        },
      },
    },
  });
}

/** For kustomize: access rules name callers by their namespace, a place that its own field `namespace` does not know. */
function callersNamespace({ services, calls }: Topology): Output {
  const uncalled = services.filter(({ name }) => !calls.some(({ callee }) => callee === name));
  return yaml(
    'k8s/transformers/namespace/callers.generated.yaml',
    {
      apiVersion: 'builtin',
      kind: 'ReplacementTransformer',
      metadata: { name: 'callers' },
      replacements: [
        {
          source: { kind: 'Namespace', fieldPath: 'metadata.name' },
          targets: [
            {
              select: { group: 'dapr.io', kind: 'Configuration' },
              // Where there is no rule, kustomize misses the field.
              reject: uncalled.map(({ name }) => ({ group: 'dapr.io', kind: 'Configuration', name })),
              fieldPaths: ['spec.accessControl.policies.*.namespace'],
            },
          ],
        },
      ],
    },
    'Puts the namespace that the shop ends up in into the access rules of every service that is called.',
  );
}

function podLabels(name: string) {
  return { matchLabels: { 'app.kubernetes.io/name': name } };
}

function yaml(path: string, value: object, comment?: string): Output {
  return { path, content: yamlFile(SOURCE, [{ value, ...(comment ? { comment } : {}) }]) };
}
