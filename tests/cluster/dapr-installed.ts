import { readFileSync } from 'node:fs';
import { execa } from 'execa';
import { parse } from 'yaml';

const NAMESPACE = 'dapr-system';
const RELEASE = 'dapr';
const VALUES = 'k8s/dapr/values.yaml';

/**
 * Throws, with the helm command that mends it, when Dapr is not installed with the project's values; returns the version that is.
 * Which version it is, and from where its images come, is the cluster's own business.
 */
export async function assertDaprInstalled(): Promise<string> {
  const wanted = parse(readFileSync(VALUES, 'utf8')) as { global: { tag?: string; registry?: string } };
  const { tag, registry: _, ...global } = wanted.global;
  const cure =
    `Cure: helm upgrade --install ${RELEASE} dapr --repo https://dapr.github.io/helm-charts --version ${tag} ` +
    `--namespace ${NAMESPACE} --create-namespace --values ${VALUES} --wait (docs/kubernetes.md)`;
  const args = ['get', 'values', RELEASE, '--namespace', NAMESPACE, '--all', '--output', 'json'];
  const helm = await execa('helm', args, { reject: false });
  if (helm.code === 'ENOENT') throw new Error('helm is not on the PATH: it tells how Dapr is installed.');
  if (helm.failed)
    throw new Error(
      `Dapr is not installed as the helm release ${RELEASE} in ${NAMESPACE}: ${helm.stderr}\n${cure}`,
    );
  const installed = JSON.parse(helm.stdout) as typeof wanted;
  const differences = missingValues({ ...wanted, global }, installed);
  if (differences.length > 0)
    throw new Error(
      `Dapr is installed with other values than ${VALUES}:\n  ${differences.join('\n  ')}\n${cure}`,
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
