import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { parse } from 'yaml';
import { makeAuthority } from '../../k8s/authority.ts';
import { findDaprChart, DAPR_VALUES as VALUES } from '../../k8s/dapr-chart.ts';
import { looksLocal } from '../../k8s/kubectl.ts';
import { ShopError } from '../../local/shop-error.ts';
import { exists, get } from './kubectl.ts';

const NAMESPACE = 'dapr-system';
const RELEASE = 'dapr';
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

interface Installed {
  global: { tag?: string };
  dapr_sentry?: { tls?: { root?: { certPEM?: string } } };
}

/**
 * Installs Dapr where a local cluster has none, and looks how it is installed where it has one.
 * @returns its version, and whether it was installed now. Which version it is, and from where its images come, is the
 *   cluster's own business.
 * @throws ShopError, with the helm command that mends it, when it is not as the project wants it.
 */
export async function ensureDapr(say: (text: string) => void): Promise<string> {
  const wanted = parse(readFileSync(VALUES, 'utf8')) as { global: { tag: string; registry?: string } };
  const context = process.env.SIDECART_TEST_CLUSTER ?? '';
  // Not made by the cure: a new authority in place of the cluster's own would be no cure.
  const cure = `${installCommand(wanted.global.tag, context)}\n${AUTHORITY} comes from \`npm run k8s -- ca\`, once for a cluster (docs/kubernetes.md).`;
  const unfinished = releaseFault(await releaseStatus(), cure, context);
  if (unfinished) throw unfinished;
  let installed = await release();
  if (!installed) {
    if (!looksLocal(context) || (await exists('deployment', 'dapr-operator', NAMESPACE)))
      throw new ShopError(`Dapr is not installed as the helm release ${RELEASE} in ${NAMESPACE}`, cure);
    await install(cure, say);
    installed = await release();
  }
  const { tag, registry: _, ...global } = wanted.global;
  const differences = missingValues({ ...wanted, global }, installed);
  if (differences.length > 0)
    throw new ShopError(
      `Dapr is installed with other values than ${VALUES}:\n  ${differences.join('\n  ')}`,
      cure,
    );
  const fault = authorityFault({
    given: installed?.dapr_sentry?.tls?.root?.certPEM ?? '',
    trusted: (await get('configmap', 'dapr-trust-bundle', NAMESPACE)).data?.['ca.crt'] ?? '',
    ours: readIfThere(join(dirname(AUTHORITY), 'root.crt')),
  });
  if (fault) throw new ShopError(fault, cure);
  return installed?.global.tag ?? 'of unknown version';
}

/**
 * What is wrong with a release that an interrupted or failed run left, which has values and no Dapr that works: the tests
 * would wait for it in vain. Helm upgrades one that failed, and refuses one that it takes for still under way.
 */
export function releaseFault(status: string | undefined, cure: string, context = ''): ShopError | undefined {
  if (status === undefined || status === 'deployed') return undefined;
  const at = `${RELEASE} --namespace ${NAMESPACE}${context && ` --kube-context ${context}`}`;
  const first = {
    'pending-install': `helm uninstall ${at}\n`,
    'pending-upgrade': `helm rollback ${at}\n`,
    'pending-rollback': `helm rollback ${at}\n`,
  }[status];
  return new ShopError(
    `The helm release ${RELEASE} in ${NAMESPACE} is '${status}', not 'deployed'`,
    `${first ? `when no helm is at work any more: ${first}` : ''}${cure}`,
  );
}

/** How far helm came with the release; undefined when there is none. */
async function releaseStatus(): Promise<string | undefined> {
  const status = await askHelm<{ info: { status: string } }>('status', RELEASE);
  return status?.info.status;
}

/** The values of the release, the chart's own included; undefined when there is none. */
const release = () => askHelm<Installed>('get', 'values', RELEASE, '--all');

/** What helm answers; undefined when there is no such release. */
async function askHelm<Answer>(...question: string[]): Promise<Answer | undefined> {
  const args = [...question, '--namespace', NAMESPACE, '--output', 'json'];
  const helm = await execa('helm', args, { reject: false });
  if (helm.code === 'ENOENT')
    throw new ShopError('there is no helm on the PATH, which tells how Dapr is installed', 'install helm');
  if (helm.failed && /release: not found/.test(helm.stderr)) return undefined;
  if (helm.failed) throw new Error(`helm ${args.join(' ')}: ${helm.stderr}`);
  return JSON.parse(helm.stdout) as Answer;
}

/** As docs/kubernetes.md has it. It stays, as it is the cluster's and not the tests'. */
async function install(cure: string, say: (text: string) => void): Promise<void> {
  const chart = process.env.SIDECART_DAPR_CHART || (await ownChart(cure));
  if (!existsSync(AUTHORITY)) makeAuthority({ folder: dirname(AUTHORITY), days: 365, renew: false });
  const values = [VALUES, process.env.SIDECART_DAPR_VALUES, AUTHORITY].filter(
    (file) => file !== undefined && file !== '',
  );
  say(`installing Dapr: the chart ${chart} with ${values.join(', ')}`);
  const args = [
    ...['upgrade', '--install', RELEASE, chart, '--namespace', NAMESPACE, '--create-namespace'],
    ...['--wait', '--timeout', '5m', ...values.flatMap((file) => ['--values', file as string])],
  ];
  const helm = await execa('helm', args, { reject: false, all: true });
  if (helm.failed)
    throw new ShopError(`Dapr could not be installed: helm ${args.join(' ')}:\n${helm.all}`, cure);
}

async function ownChart(cure: string): Promise<string> {
  const found = await findDaprChart();
  if ('folder' in found) return found.folder;
  throw new ShopError(
    `Dapr is not installed, and there is no chart to install it from: ${found.whyNot}`,
    `SIDECART_DAPR_CHART=FOLDER-OR-FILE-OR-ADDRESS npm run test:cluster, or by hand: ${cure}`,
  );
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

/**
 * What is wrong with the root that sidecars trust, if anything: without one of ours the chart makes its own.
 * @param o.given to the release, by its values
 * @param o.trusted what is handed to the sidecars
 * @param o.ours the root of this checkout, where it has made one
 */
export function authorityFault(o: {
  given: string;
  trusted: string;
  ours?: string | undefined;
}): string | undefined {
  const [given, trusted, ours] = [o.given, o.trusted, o.ours ?? o.given].map((pem) => pem.trim());
  if (given === '')
    return 'Dapr was installed without an authority of our own, and has made its root and issuer itself';
  if (trusted !== given)
    return `The sidecars trust another root (ConfigMap dapr-trust-bundle in ${NAMESPACE}) than the release says`;
  if (ours !== given)
    return `Dapr was installed with another root than ${join(dirname(AUTHORITY), 'root.crt')}: bring the folder here that it was installed with, or move this one away`;
  return undefined;
}

function readIfThere(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}
