import { spawnSync } from 'node:child_process';
import { parse } from 'yaml';
import type { ClusterFacts } from './cluster-check.ts';
import { type Context, kubectl } from './kubectl.ts';

interface Item {
  metadata: { name: string; annotations?: Record<string, string> };
  status?: { conditions?: { type: string; status: string }[] };
}

/**
 * Asks a cluster what the shop needs to know of it; changes nothing.
 * @throws ShopError when kubectl cannot reach it.
 */
export function gatherClusterFacts(context: Context): ClusterFacts {
  const ask = (...args: string[]) => kubectl([`--context=${context.name}`, '--request-timeout=15s', ...args]);
  const list = (...args: string[]): Item[] =>
    JSON.parse(ask('get', ...args, '--ignore-not-found', '--output=json') || '{}').items ?? [];

  const { serverVersion } = JSON.parse(ask('version', '--output=json'));
  const hosting = ask(
    'get',
    'configmap',
    'local-registry-hosting',
    '--namespace=kube-public',
    '--ignore-not-found',
    "--output=jsonpath={.data['localRegistryHosting\\.v1']}",
  );
  return {
    context,
    version: serverVersion.gitVersion,
    definitions: list('customresourcedefinitions').map(({ metadata }) => metadata.name),
    controlPlane: Object.fromEntries(
      list('deployments', '--all-namespaces', '--selector=app.kubernetes.io/part-of=dapr').map((item) => [
        item.metadata.name,
        item.status?.conditions?.some(({ type, status }) => type === 'Available' && status === 'True') ??
          false,
      ]),
    ),
    defaultStorageClass: list('storageclasses').some(
      ({ metadata }) => metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true',
    ),
    registry: (parse(hosting) as { host?: string } | null)?.host,
    kindProgram: spawnSync('kind', ['version']).status === 0,
  };
}
