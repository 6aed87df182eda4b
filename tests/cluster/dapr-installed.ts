import { readFileSync } from 'node:fs';
import { execa } from 'execa';
import { parse } from 'yaml';
import { ShopError } from '../../local/shop-error.ts';

const NAMESPACE = 'dapr-system';
const RELEASE = 'dapr';
const VALUES = 'k8s/dapr/values.yaml';
const AUTHORITY = '.run/dapr-ca/values.yaml';

/**
 * The command that installs Dapr as the project wants it, or brings an installation there. The chart is named by its
 * address: of a name helm would take the checkout's own folder `dapr`, in spite of `--repo`. Both files each time: without
 * the second an upgrade would take the project's root and issuer away.
 */
export function installCommand(version: string, context = ''): string {
  return (
    `helm upgrade --install ${RELEASE} https://dapr.github.io/helm-charts/dapr-${version}.tgz --namespace ${NAMESPACE} ` +
    `--create-namespace --wait --values ${VALUES} --values ${AUTHORITY}${context && ` --kube-context ${context}`}`
  );
}

/**
 * The version of Dapr that is installed.
 * @throws ShopError, with the helm command that mends it, when there is none or it has not the project's values. Which
 *   version it is, and from where its images come, is the cluster's own business.
 */
export async function assertDaprInstalled(): Promise<string> {
  const wanted = parse(readFileSync(VALUES, 'utf8')) as { global: { tag: string; registry?: string } };
  const { tag, registry: _, ...global } = wanted.global;
  // Not made by the cure: a new authority in place of the cluster's own would be no cure.
  const cure = `${installCommand(tag, process.env.SIDECART_TEST_CLUSTER)}\n${AUTHORITY} comes from \`npm run k8s -- ca\`, once for a cluster (docs/kubernetes.md).`;
  const args = ['get', 'values', RELEASE, '--namespace', NAMESPACE, '--all', '--output', 'json'];
  const helm = await execa('helm', args, { reject: false });
  if (helm.code === 'ENOENT')
    throw new ShopError('there is no helm on the PATH, which tells how Dapr is installed', 'install helm');
  if (helm.failed)
    throw new ShopError(
      `Dapr is not installed as the helm release ${RELEASE} in ${NAMESPACE}: ${helm.stderr}`,
      cure,
    );
  const installed = JSON.parse(helm.stdout) as { global: { tag?: string } };
  const differences = missingValues({ ...wanted, global }, installed);
  if (differences.length > 0)
    throw new ShopError(
      `Dapr is installed with other values than ${VALUES}:\n  ${differences.join('\n  ')}`,
      cure,
    );
  return installed.global.tag ?? 'of unknown version';
}

/** Each value wanted that the installation lacks or has otherwise, as a line. What is not asked for may be anything. */
export function missingValues(wanted: unknown, actual: unknown, path = ''): string[] {
  if (wanted === null || typeof wanted !== 'object' || Array.isArray(wanted)) {
    const same = JSON.stringify(wanted) === JSON.stringify(actual);
    return same ? [] : [`${path}: ${JSON.stringify(actual)} instead of ${JSON.stringify(wanted)}`];
  }
  const found = (typeof actual === 'object' && actual !== null ? actual : {}) as Record<string, unknown>;
  return Object.entries(wanted).flatMap(([key, value]) =>
    missingValues(value, found[key], path ? `${path}.${key}` : key),
  );
}
