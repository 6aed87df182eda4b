import { readFileSync } from 'node:fs';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { DAPR_VALUES as VALUES } from './dapr-chart.ts';
import type { Manifest } from './manifests.ts';
import { useDaprChart } from './testing.ts';

const PRODUCTION = 'k8s/dapr/values-production.yaml';

const chart = useDaprChart();

/** What helm makes of the chart with these files of values. */
async function rendered(...files: string[]): Promise<Manifest[]> {
  const values = files.flatMap((file) => ['--values', file]);
  const { stdout } = await execa('helm', [
    'template',
    'dapr',
    chart(),
    '--namespace',
    'dapr-system',
    ...values,
  ]);
  return parseAllDocuments(stdout)
    .map((document) => document.toJS() as Manifest | null)
    .filter((object) => object !== null);
}

/** What the values are for, as it is in the objects. */
function traits(objects: Manifest[]) {
  const workloads = objects.filter(({ kind }) => ['Deployment', 'StatefulSet', 'DaemonSet'].includes(kind));
  const injector = workloads.find(({ metadata }) => metadata.name === 'dapr-sidecar-injector');
  const containers = workloads.flatMap(({ spec }) => spec.template.spec.containers as Container[]);
  const env: Record<string, string | undefined> = Object.fromEntries(
    injector?.spec.template.spec.containers[0].env.map(({ name, value }: Variable) => [name, value]),
  );
  const webhooks = objects.filter(({ kind }) => kind === 'MutatingWebhookConfiguration');
  return {
    /** Everything of actors and jobs would be in here. */
    parts: Object.fromEntries(workloads.map(({ metadata, spec }) => [metadata.name, spec.replicas])),
    injected: {
      capabilitiesDropped: env.SIDECAR_DROP_ALL_CAPABILITIES,
      readOnly: env.SIDECAR_READ_ONLY_ROOT_FILESYSTEM,
      asNonRoot: env.SIDECAR_RUN_AS_NON_ROOT,
      native: env.NATIVE_SIDECAR_ENABLED,
      actors: env.ACTORS_ENABLED,
    },
    ownCapabilities: containers.map(({ securityContext }) => securityContext?.capabilities?.drop),
    seccomp: containers.map(({ securityContext }) => securityContext?.seccompProfile?.type),
    webhooks: webhooks.flatMap((object) =>
      object.webhooks.map(({ failurePolicy, namespaceSelector }: Webhook) => ({
        failurePolicy,
        namespaceSelector,
      })),
    ),
    secretReaders: objects.flatMap(({ kind, metadata }) =>
      metadata.name.includes('secret-reader') ? [`${kind}/${metadata.name}`] : [],
    ),
    images: containers.map(({ image }) => image.replace(/^.*:/, '')),
    limited: containers.map(({ resources }) => resources?.limits?.memory !== undefined),
  };
}

interface Variable {
  name: string;
  value?: string;
}
interface Webhook {
  failurePolicy: string;
  namespaceSelector?: object;
}
interface Container {
  image: string;
  resources?: { limits?: { memory?: string } };
  securityContext?: { capabilities?: { drop: string[] }; seccompProfile?: { type: string } };
}

const parts = (replicas: number) => ({
  'dapr-operator': replicas,
  'dapr-sentry': replicas,
  'dapr-sidecar-injector': replicas,
});

/** What the injector stands on has to start without it. */
const butItsOwn = {
  matchExpressions: [
    { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: ['kube-system', 'dapr-system'] },
  ],
};

test('the values give the control plane that they promise: three parts, closed, for restricted pods', async () => {
  const { global } = parse(readFileSync(VALUES, 'utf8'));
  const objects = await rendered(VALUES);
  expect(traits(objects)).toEqual({
    parts: parts(1),
    injected: {
      capabilitiesDropped: 'true',
      readOnly: 'true',
      asNonRoot: 'true',
      native: 'true',
      actors: 'false',
    },
    ownCapabilities: [['ALL'], ['ALL'], ['ALL']],
    seccomp: ['RuntimeDefault', 'RuntimeDefault', 'RuntimeDefault'],
    webhooks: [{ failurePolicy: 'Fail', namespaceSelector: butItsOwn }],
    secretReaders: [],
    images: [global.tag, global.tag, global.tag],
    limited: [true, true, true],
  });
  const { mtls } = objects.find(({ kind }) => kind === 'Configuration')?.spec ?? {};
  expect(mtls).toMatchObject({ enabled: true, controlPlaneTrustDomain: 'cluster.local' });
});

test('those for production make it three of each part, spread over zones, and change nothing else', async () => {
  const [plain, production] = [await rendered(VALUES), await rendered(VALUES, PRODUCTION)];
  expect(traits(production)).toEqual({ ...traits(plain), parts: parts(3) });
  expect(spread(production)).toEqual({
    'dapr-operator': ['topology.kubernetes.io/zone'],
    'dapr-sentry': ['topology.kubernetes.io/zone'],
    'dapr-sidecar-injector': ['topology.kubernetes.io/zone'],
  });
  const budgets = production.filter(({ kind }) => kind === 'PodDisruptionBudget');
  expect(budgets).toHaveLength(3);
});

/** Between what the chart keeps the pods of each part apart. */
function spread(objects: Manifest[]): Record<string, string[]> {
  const deployments = objects.filter(({ kind }) => kind === 'Deployment');
  return Object.fromEntries(
    deployments.map(({ metadata, spec }) => {
      const apart = spec.template.spec.affinity?.podAntiAffinity ?? {};
      const terms: { podAffinityTerm: { topologyKey: string } }[] =
        apart.preferredDuringSchedulingIgnoredDuringExecution ?? [];
      return [metadata.name, terms.map(({ podAffinityTerm }) => podAffinityTerm.topologyKey)];
    }),
  );
}

test('control: the chart by itself has none of this', async () => {
  const [own, ours] = [traits(await rendered()), traits(await rendered(VALUES))];
  expect(Object.keys(own.parts)).toEqual(
    expect.arrayContaining(['dapr-placement-server', 'dapr-scheduler-server']),
  );
  expect(own.secretReaders).not.toEqual([]);
  expect(own.webhooks).toEqual([expect.objectContaining({ failurePolicy: 'Ignore' })]);
  for (const trait of ['injected', 'ownCapabilities', 'seccomp', 'webhooks', 'images', 'limited'] as const)
    expect(own[trait], trait).not.toEqual(ours[trait]);
});
