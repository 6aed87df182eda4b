import { execa } from 'execa';

export interface KubectlOptions {
  input?: string;
  /** 60 s unless said otherwise. */
  timeoutMs?: number;
}

/** An object of the cluster; only what these tests read is described. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    creationTimestamp?: string;
    deletionTimestamp?: string;
    uid?: string;
    generation?: number;
  };
  // biome-ignore lint/suspicious/noExplicitAny: manifests and their status have every shape
  [field: string]: any;
}

/**
 * Runs kubectl in the context that this run has pinned (its KUBECONFIG) and returns its output.
 * @throws with kubectl's own words when it fails.
 */
export async function kubectl(args: string[], o: KubectlOptions = {}): Promise<string> {
  return (await kubectlBoth(args, o)).stdout;
}

/** As kubectl, with what it said on stderr: the API server's warnings come there. */
export async function kubectlBoth(
  args: string[],
  { input, timeoutMs = 60_000 }: KubectlOptions = {},
): Promise<{ stdout: string; stderr: string }> {
  const result = await execa('kubectl', args, {
    ...(input === undefined ? { stdin: 'ignore' } : { input }),
    timeout: timeoutMs,
    reject: false,
  });
  if (result.failed)
    throw new Error(
      `kubectl ${args.join(' ')}: ${result.timedOut ? `no answer within ${timeoutMs} ms. ` : ''}${result.stderr || result.shortMessage}`,
    );
  return result;
}

/** One object, read. */
export async function get(kind: string, name: string, namespace?: string): Promise<KubeObject> {
  return JSON.parse(
    await kubectl(['get', kind, name, ...inNamespace(namespace), '-o', 'json']),
  ) as KubeObject;
}

/** All objects of a kind in a namespace, by label where one is given; without a namespace those of a kind that has none. */
export async function list(kind: string, namespace?: string, selector?: string): Promise<KubeObject[]> {
  const args = ['get', kind, ...inNamespace(namespace), ...(selector ? ['-l', selector] : []), '-o', 'json'];
  return (JSON.parse(await kubectl(args)) as { items: KubeObject[] }).items;
}

export async function exists(kind: string, name: string, namespace?: string): Promise<boolean> {
  return (
    (await kubectl(['get', kind, name, ...inNamespace(namespace), '--ignore-not-found', '-o', 'name'])) !== ''
  );
}

/** Applies objects together. */
export function apply(objects: object[], ...more: string[]): Promise<string> {
  return kubectl(['apply', '-f', '-', ...more], { input: asDocuments(objects) });
}

/** Objects as kubectl reads several from its standard input: a List would be validated by kubectl, and not by the API server. */
export function asDocuments(objects: object[]): string {
  return objects.map((object) => JSON.stringify(object)).join('\n---\n');
}

/** What a Secret holds under a key. */
export async function secretValue(name: string, key: string, namespace: string): Promise<string> {
  const value = (await get('secret', name, namespace)).data?.[key];
  if (value === undefined) throw new Error(`the Secret ${name} has no key ${key}`);
  return Buffer.from(value, 'base64').toString();
}

const inNamespace = (namespace: string | undefined) => (namespace ? ['-n', namespace] : []);
