import { execa } from 'execa';
import { apply, kubectl } from './kubectl.ts';
import { mark } from './namespace.ts';
import { overlayWith } from './overlay.ts';
import { findRegistry } from './registry.ts';
import { waitUntilReady } from './workloads.ts';

export type Say = (text: string) => void;

/** Runs one of the project's own commands, as its documentation has it. Throws with its output when it fails. */
async function npmRun(script: string, ...args: string[]): Promise<string> {
  const result = await execa('npm', ['run', '--silent', script, '--', ...args], { all: true, reject: false });
  if (result.failed) throw new Error(`npm run ${script} -- ${args.join(' ')} failed:\n${result.all}`);
  return result.all;
}

/**
 * Builds images of this checkout, pushes them to the cluster's registry, and returns how pods name each, by service.
 * SIDECART_IMAGE_OPTIONS has what `npm run images` needs beyond that on some machines, as in `--network host`.
 */
export async function buildImages(names: string[], tag: string, say: Say): Promise<Record<string, string>> {
  const { push } = await findRegistry();
  say(`building the images and pushing them to ${push}`);
  return pushImages(names, tag);
}

/** @param options such as `--target` and `dev` */
export async function pushImages(
  names: string[],
  tag: string,
  ...options: string[]
): Promise<Record<string, string>> {
  const registry = await findRegistry();
  const more = process.env.SIDECART_IMAGE_OPTIONS?.split(/\s+/) ?? [];
  await npmRun('images', '--tag', tag, '--push', registry.push, ...options, ...more, ...names);
  return Object.fromEntries(names.map((name) => [name, `${registry.pull}/sidecart/${name}:${tag}`]));
}

/** Makes the Secrets that are missing in a namespace, as an operator does. */
export async function makeSecrets(namespace: string, ...options: string[]): Promise<void> {
  const context = process.env.SIDECART_TEST_CLUSTER ?? '';
  await npmRun('k8s', 'secrets', '--context', context, '--namespace', namespace, ...options);
}

/** Brings up the local overlay in a namespace of its own, from nothing to every pod ready. */
export async function installLocal(
  namespace: string,
  images: Record<string, string>,
  say: Say,
): Promise<void> {
  await apply([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }]);
  await mark(namespace);
  say('making the secrets');
  await makeSecrets(namespace);
  say('applying k8s/overlays/local');
  await kubectl(['apply', '-k', overlayWith('local', { images })]);
  await waitUntilReady(namespace, say);
}
