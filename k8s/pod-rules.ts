import type { Manifest } from './manifests.ts';

/** A Deployment or a StatefulSet, as kustomize prints it. */
export type Workload = Manifest;

export interface RuleOptions {
  /** An image that runs the sources writes its file system and is left alone by the kubelet (tilt/dev). */
  edited?: boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: a probe that is missing is what is looked for
type Container = Record<string, any>;

/** What runs in a namespace of the shop, by the label `app.kubernetes.io/component`. The first three run images of this project. */
const COMPONENTS = ['service', 'platform', 'simulator', 'database', 'broker'];
const VOLUMES = ['configMap', 'secret', 'emptyDir', 'projected', 'persistentVolumeClaim'];
const RESOURCES = ['cpu', 'memory', 'ephemeral-storage'];

export const podOf = ({ spec }: Workload) => spec.template.spec;
export const containersOf = (workload: Workload): Container[] => [
  ...(podOf(workload).initContainers ?? []),
  ...podOf(workload).containers,
];
export const isService = (workload: Workload): boolean => componentOf(workload) === 'service';

const componentOf = ({ spec }: Workload): string =>
  spec.template.metadata?.labels?.['app.kubernetes.io/component'] ?? '';

/** What a pod lacks of what docs/kubernetes.md promises of every one; in words, each with the pod's name. */
export function podFaults(workload: Workload, { edited = false }: RuleOptions = {}): string[] {
  const component = componentOf(workload);
  const own = COMPONENTS.indexOf(component) < 3;
  // A simulator writes its books only, and those are on its volume.
  const writes = own && component !== 'simulator';
  return [
    ...faults({ 'is nothing that is known here': COMPONENTS.includes(component) }),
    ...rightsFaults(workload),
    ...volumeFaults(workload),
    ...containersOf(workload).flatMap((container) => containerFaults(container, { own, edited, writes })),
    ...podOf(workload).containers.flatMap((container: Container) => probeFaults(container, { own, edited })),
    ...(own ? programFaults(workload) : []),
    ...(component === 'service' ? serviceFaults(workload) : []),
    ...(component === 'platform' ? platformFaults(workload) : []),
  ].map((fault) => `${workload.metadata.name}: ${fault}`);
}

/** The restricted Pod Security Standard, and what goes beyond it: no token of the Kubernetes API, nothing of a neighbour. */
function rightsFaults(workload: Workload): string[] {
  const { securityContext = {}, ...pod } = podOf(workload);
  return faults({
    'may run as root': securityContext.runAsNonRoot === true && securityContext.runAsUser > 0,
    'has the group of root': securityContext.runAsGroup > 0 && securityContext.fsGroup > 0,
    'may make any system call': securityContext.seccompProfile?.type === 'RuntimeDefault',
    'is on the network or among the processes of its node':
      !pod.hostNetwork && !pod.hostPID && !pod.hostIPC && !pod.hostUsers,
    'gives every container a token of the Kubernetes API': pod.automountServiceAccountToken === false,
    'is told where every other Service is': pod.enableServiceLinks === false,
    'has the account of another': pod.serviceAccountName === workload.metadata.name,
    'has no time of its own to end': pod.terminationGracePeriodSeconds > 0,
  });
}

function volumeFaults(workload: Workload): string[] {
  const volumes: Container[] = podOf(workload).volumes ?? [];
  const claimed: Container[] = workload.spec.volumeClaimTemplates ?? [];
  const there = [...volumes.map(({ name }) => name), ...claimed.map(({ metadata }) => metadata.name)].sort();
  const mounts = containersOf(workload).flatMap(({ volumeMounts = [] }) => volumeMounts as Container[]);
  const toSidecar = sidecarMounts(workload);
  const tokens = volumes.filter(({ projected }) => projected?.sources.some(isToken));
  return faults({
    'has a volume that the standard does not know, or one without an end': volumes.every(
      ({ name: _, ...volume }) =>
        VOLUMES.includes(Object.keys(volume)[0] ?? '') && (!volume.emptyDir || volume.emptyDir.sizeLimit),
    ),
    'mounts what it does not have, or has what it does not mount':
      String(there) === String([...new Set([...mounts.map(({ name }) => name), ...toSidecar])].sort()),
    'mounts something nowhere': mounts.every(({ mountPath }) => mountPath?.startsWith('/')),
    'gives a container of its own the token that is for its sidecar': !mounts.some((mount) =>
      tokens.some(({ name }) => name === mount.name),
    ),
    'can write to what it should only read': mounts.every(
      ({ name, readOnly }) =>
        readOnly || !volumes.some((volume) => volume.name === name && (volume.secret || volume.projected)),
    ),
  });
}

const isToken = ({ serviceAccountToken }: Container) => serviceAccountToken !== undefined;
const sidecarMounts = ({ spec }: Workload): string[] =>
  (spec.template.metadata?.annotations?.['dapr.io/volume-mounts'] ?? '')
    .split(',')
    .flatMap((mount: string) => mount.split(':')[0] || []);

function containerFaults(
  container: Container,
  { own, edited, writes }: { own: boolean; edited: boolean; writes: boolean },
): string[] {
  const { name, securityContext = {}, resources = {}, ports = [], volumeMounts = [] } = container;
  const isEdited = own && edited && name === 'app';
  const given = (kind: string) => RESOURCES.every((resource) => resources[kind]?.[resource]);
  return faults({
    'may gain rights': securityContext.allowPrivilegeEscalation === false && !securityContext.privileged,
    'keeps a capability':
      String(securityContext.capabilities?.drop) === 'ALL' && !securityContext.capabilities.add,
    'sets aside what the pod says of users': Object.keys(securityContext).every(
      (key) => !/^(runAs|seccomp)/.test(key),
    ),
    'may write its file system': isEdited || securityContext.readOnlyRootFilesystem === true,
    'has no place to write to':
      !writes || volumeMounts.some(({ mountPath }: Container) => mountPath === '/tmp'),
    'does not say all that it asks for': given('requests'),
    'may take all that the node has': given('limits'),
    'takes a port of its node': ports.every(({ hostPort }: Container) => hostPort === undefined),
    'asks a registry for what its node has': container.imagePullPolicy === 'IfNotPresent',
    'has an image that may be another tomorrow':
      /:[^:/]+$/.test(container.image) && !/:latest$/.test(container.image),
  }).map((fault) => `${name} ${fault}`);
}

/** A program of the shop is alive whatever its neighbours do; servers of others are asked in their own way. */
function probeFaults(container: Container, { own, edited }: { own: boolean; edited: boolean }): string[] {
  const { name, startupProbe, livenessProbe, readinessProbe } = container;
  const asks = (probe: Container | undefined, path: string) =>
    probe !== undefined && (!own || (probe.httpGet?.path === path && probe.httpGet.port === 'http'));
  const patience = (probe: Container = {}) => (probe.periodSeconds ?? 10) * (probe.failureThreshold ?? 3);
  return faults({
    'has no startup probe that asks for itself alone': asks(startupProbe, '/livez'),
    'is given less than a minute to start': patience(startupProbe) >= 60,
    'has no liveness probe that asks for itself alone': edited || asks(livenessProbe, '/livez'),
    'is ended after less than half a minute of silence': edited || patience(livenessProbe) >= 30,
    'has no readiness probe': asks(readinessProbe, '/readyz'),
    'stays in the Service for long when it is not ready': !own || edited || patience(readinessProbe) <= 5,
    'is called dead or away for an answer that takes a second': [
      livenessProbe,
      readinessProbe,
      startupProbe,
    ].every((probe) => !own || probe === undefined || probe.timeoutSeconds >= 2),
  }).map((fault) => `${name} ${fault}`);
}

/** What every program of this project is given. */
function programFaults(workload: Workload): string[] {
  const app = containerOf(workload, 'app');
  const port = (app.ports ?? []).find(({ name }: Container) => name === 'http')?.containerPort;
  return faults({
    'listens where nobody asks':
      port > 0 && textOf(app, 'PORT') === String(port) && textOf(app, 'HOST') === '0.0.0.0',
  });
}

function platformFaults(workload: Workload): string[] {
  const app = containerOf(workload, 'app');
  const databases = containerOf(workload, 'databases');
  const makes = workload.spec.template.metadata.labels['uses-database'] === 'true';
  return faults({
    'does not look after the broker':
      String(app.args) === 'streams' && secretOf(app, 'BROKER_URL') === 'broker',
    'stays when what it keeps the broker to is another list': hasStreams(workload, app),
    'makes the databases where somebody else does, or not where nobody does':
      makes === (String(databases.args) === 'databases') &&
      makes === (secretOf(databases, 'ADMIN_URL') === 'postgres-admin') &&
      makes === (databases.volumeMounts ?? []).some(({ mountPath }: Container) => mountPath === '/secrets'),
  });
}

/** The list is in a ConfigMap with a hash in its name, and that is the one read. */
function hasStreams(workload: Workload, app: Container): boolean {
  const volumes: Container[] = podOf(workload).volumes ?? [];
  const mounts: Container[] = app.volumeMounts ?? [];
  const volume = volumes.find(({ configMap }) => /^streams-[0-9a-z]{10}$/.test(configMap?.name ?? ''));
  const mount = mounts.find(({ name }) => name === volume?.name);
  return mount?.readOnly === true && textOf(app, 'STREAMS_FILE') === `${mount.mountPath}/streams.yaml`;
}

/** What a service has, beside its sidecar, that is its own. */
function serviceFaults(workload: Workload): string[] {
  const { name } = workload.metadata;
  const { annotations = {}, labels } = workload.spec.template.metadata;
  const dapr = (key: string): string | undefined => annotations[`dapr.io/${key}`];
  const database = labels['uses-database'] === 'true';
  const app = containerOf(workload, 'app');
  const migrate = containerOf(workload, 'migrate');
  return faults({
    'has no sidecar': dapr('enabled') === 'true' && dapr('app-id') === name,
    'has a sidecar without its access rules': dapr('config') === name,
    'stays when what its sidecar reads is other than it was': /^[0-9a-f]{12}$/.test(
      annotations['sidecart.dev/dapr-resources'] ?? '',
    ),
    'has a sidecar that ends before it': dapr('enable-native-sidecar') === 'true',
    'has a sidecar that may make any system call': dapr('sidecar-seccomp-profile-type') === 'RuntimeDefault',
    'has a sidecar without requests and limits': ['cpu', 'memory'].every(
      (resource) => dapr(`sidecar-${resource}-request`) && dapr(`sidecar-${resource}-limit`),
    ),
    'has a sidecar that sends to it while it is not ready':
      dapr('enable-app-health-check') === 'true' && dapr('app-health-check-path') === '/readyz',
    'has a sidecar that looks for it elsewhere': dapr('app-port') === textOf(app, 'PORT'),
    'has a sidecar that serves everybody':
      dapr('api-token-secret') === `${name}-api-token` &&
      secretOf(app, 'DAPR_API_TOKEN') === `${name}-api-token`,
    'listens to others than its sidecar':
      dapr('app-token-secret') === `${name}-app-token` &&
      secretOf(app, 'APP_API_TOKEN') === `${name}-app-token`,
    'has a sidecar that asks for Secrets although there is none for it, or does not although there is one':
      dapr('disable-builtin-k8s-secret-store') === String(!database) &&
      database === apiToken(workload) &&
      database ===
        (dapr('volume-mounts') ?? '').startsWith(
          'kubernetes-api:/var/run/secrets/kubernetes.io/serviceaccount',
        ),
    'is called something else':
      textOf(app, 'APP_ID') === name &&
      variable(app, 'NAMESPACE').valueFrom?.fieldRef?.fieldPath === 'metadata.namespace',
    'names a Secret of another': secretsOf(containersOf(workload)).every((secret) =>
      secret.startsWith(`${name}-`),
    ),
    'has no migrations before its app':
      database === (String(migrate.command) === 'node,/app/migrate.mjs') &&
      database === (textOf(migrate, 'MIGRATIONS_DIR') === '/app/migrations') &&
      database === (secretOf(migrate, 'DATABASE_URL') === `${name}-db-owner`),
    'shows its app the owner of its tables': secretsOf([app]).every((secret) => !secret.includes('-db')),
    'counts before it has shown that it stays': workload.spec.minReadySeconds >= 1,
    'is not spread over zones and nodes': spreads(workload),
  });
}

/** Whether there is a token of the Kubernetes API for the sidecar: a short-lived one, with what is needed to use it. */
function apiToken(workload: Workload): boolean {
  const volumes: Container[] = podOf(workload).volumes ?? [];
  const sources: Container[] = volumes.find(({ name }) => name === 'kubernetes-api')?.projected.sources ?? [];
  const files = sources.flatMap(({ serviceAccountToken, configMap, downwardAPI }) => [
    ...(serviceAccountToken?.expirationSeconds <= 3607 ? [serviceAccountToken.path] : []),
    ...(configMap?.name === 'kube-root-ca.crt'
      ? configMap.items.map(({ key, path }: Container) => key === path && path)
      : []),
    ...(downwardAPI?.items ?? []).map(
      ({ path, fieldRef }: Container) =>
        fieldRef?.apiVersion === 'v1' && fieldRef.fieldPath === 'metadata.namespace' && path,
    ),
  ]);
  return String(files) === 'token,ca.crt,namespace';
}

/** By zone first, then by node, among the pods of one version: those of the last one are about to leave. */
function spreads({ metadata, spec }: Workload): boolean {
  const constraints: Container[] = spec.template.spec.topologySpreadConstraints ?? [];
  return (
    String(constraints.map(({ topologyKey }) => topologyKey)) ===
      'topology.kubernetes.io/zone,kubernetes.io/hostname' &&
    constraints.every(
      ({ maxSkew, whenUnsatisfiable, labelSelector, matchLabelKeys }) =>
        maxSkew === 1 &&
        whenUnsatisfiable !== undefined &&
        labelSelector?.matchLabels?.['app.kubernetes.io/name'] === metadata.name &&
        String(matchLabelKeys) === 'pod-template-hash',
    )
  );
}

/** Empty where there is none of that name. */
const containerOf = (workload: Workload, name: string): Container =>
  containersOf(workload).find((container) => container.name === name) ?? {};
const variable = ({ env = [] }: Container, name: string): Container =>
  env.find((one: Container) => one.name === name) ?? {};
const textOf = (container: Container, name: string) => variable(container, name).value;
const secretOf = (container: Container, name: string) =>
  variable(container, name).valueFrom?.secretKeyRef?.name;

/** Names of the Secrets that containers read into their environment. */
const secretsOf = (containers: Container[]): string[] =>
  containers
    .flatMap(({ env = [] }) => env)
    .flatMap(({ valueFrom }) => (valueFrom?.secretKeyRef ? [valueFrom.secretKeyRef.name] : []));

/** The names of what does not hold. */
function faults(rules: Record<string, unknown>): string[] {
  return Object.entries(rules).flatMap(([fault, holds]) => (holds ? [] : [fault]));
}
