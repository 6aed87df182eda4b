import { ShopError } from '../../local/shop-error.ts';
import { exists, get, type KubeObject, kubectl } from './kubectl.ts';

/** Marks what these tests made, so that they may remove it, and nothing else. */
const MARK = 'sidecart.dev/made-by';
const MADE_BY = 'test-cluster';

/** Whether the namespace is there, and whose it is. */
export async function ownerOf(namespace: string): Promise<'nobody' | 'these tests' | 'somebody else'> {
  if (!(await exists('namespace', namespace))) return 'nobody';
  return isOurs(await get('namespace', namespace)) ? 'these tests' : 'somebody else';
}

/** Whether these tests made the namespace. */
export function isOurs({ metadata }: Pick<KubeObject, 'metadata'>): boolean {
  return metadata.annotations?.[MARK] === MADE_BY;
}

/** What is said of a namespace that is there and not ours. */
export function foreignNamespace(namespace: string, context = ''): ShopError {
  return new ShopError(
    `The namespace ${namespace} is there already, and these tests did not make it; they delete pods and fill the shop's database.`,
    `kubectl --context=${context} delete namespace ${namespace}, or test on another cluster`,
  );
}

export async function mark(namespace: string): Promise<void> {
  await kubectl(['annotate', 'namespace', namespace, `${MARK}=${MADE_BY}`, '--overwrite']);
}

/** Makes a namespace that these tests may remove again, with the Pod Security Standard of the shop's. */
export async function makeNamespace(namespace: string): Promise<void> {
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } };
  await removeNamespace(namespace);
  await kubectl(['create', '-f', '-'], { input: JSON.stringify(object) });
  await mark(namespace);
}

/** Removes a namespace that these tests made, with all that is in it. */
export async function removeNamespace(namespace: string): Promise<void> {
  const owner = await ownerOf(namespace);
  if (owner === 'nobody') return;
  if (owner === 'somebody else') throw foreignNamespace(namespace, process.env.SIDECART_TEST_CLUSTER);
  await kubectl(['delete', 'namespace', namespace, '--timeout=180s'], { timeoutMs: 190_000 });
}
