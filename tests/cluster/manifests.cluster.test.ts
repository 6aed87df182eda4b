import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { byName, nameOf, render } from '../../k8s/manifests.ts';
import { asDocuments, exists, type KubeObject, kubectlBoth } from './kubectl.ts';
import { makeNamespace, removeNamespace } from './namespace.ts';
import { overlayWith } from './overlay.ts';
import { skip } from './skip.ts';

/** Empty, so that every object is judged as a new one and not as a change of what runs. */
const NAMESPACE = 'shop-dry-run';

beforeAll(() => makeNamespace(NAMESPACE));
afterAll(() => removeNamespace(NAMESPACE));

/**
 * What the API server says to objects that it would have to take exactly as they are: an error, or its warnings. The namespace
 * is not among them: `create` refuses one that is there, and without it nothing else is judged. The shop under test has it applied.
 */
async function dryRun(objects: KubeObject[]): Promise<string> {
  const others = objects.filter(({ kind }) => kind !== 'Namespace');
  const args = ['create', '--dry-run=server', '--validate=strict', '-f', '-'];
  return (await kubectlBoth(args, { input: asDocuments(others), timeoutMs: 120_000 })).stderr;
}

const isGateway = ({ apiVersion }: KubeObject) => apiVersion.startsWith('gateway.networking.k8s.io/');
/** What a kustomization includes, directly or not, as names of folders in k8s/components. */
function included(folder: string): string[] {
  const { components = [] } = parse(readFileSync(join(folder, 'kustomization.yaml'), 'utf8')) as {
    components?: string[];
  };
  return components.flatMap((path) => [basename(path), ...included(join(folder, path))]);
}
/** Those that the overlay has are tried with it; of them, `release` and `broker` are for kustomize alone. */
const components = readdirSync('k8s/components').filter(
  (name) =>
    existsSync(join('k8s/components', name, 'kustomization.yaml')) &&
    !included('k8s/overlays/local').includes(name),
);
/** Those that only change what is there. Every other one brings objects of its own. */
const PATCHES = ['backing-ca'];
/** Those of the Gateway API alone, for which a cluster needs definitions that it may not have. */
const GATEWAYS = ['ingress'];

/** What kustomize makes of an overlay in that namespace. */
const rendered = (overlay: string, more: { components?: string[]; over?: string } = {}) =>
  render(overlayWith(overlay, { ...more, namespace: NAMESPACE }));
const withComponent = (name: string) => rendered('local', { components: [name] });

describe('every manifest is accepted by a strict server-side dry run, without a warning', () => {
  test.each([
    { folder: 'k8s/overlays/local', objects: () => rendered('local') },
    { folder: 'k8s/overlays/production', objects: () => rendered('production') },
    { folder: 'tilt/dev', objects: () => rendered('local', { over: 'tilt/dev' }) },
  ])('$folder', async ({ objects: make }) => {
    const objects = make();
    expect(await dryRun(objects.filter((object) => !isGateway(object)))).toBe('');
  });

  test.each(components)('component %s on the local overlay', async (component) => {
    const plain = byName(rendered('local'));
    const objects = withComponent(component);
    expect(objects.some((object) => !(nameOf(object) in plain))).toBe(!PATCHES.includes(component));
    const changed = objects.filter((object) => !isDeepStrictEqual(object, plain[nameOf(object)]));
    expect(changed).not.toEqual([]);
    const others = changed.filter((object) => !isGateway(object));
    expect(others.length === 0).toBe(GATEWAYS.includes(component));
    if (others.length > 0) expect(await dryRun(others)).toBe('');
  });

  test.for([
    { of: 'component ingress', objects: () => withComponent('ingress') },
    { of: 'k8s/overlays/production', objects: () => rendered('production') },
  ])('the Gateway API’s of $of', async ({ objects }, context) => {
    if (!(await exists('customresourcedefinition', 'httproutes.gateway.networking.k8s.io')))
      return skip(context, 'this cluster has no definitions of the Gateway API');
    const gateways = objects().filter(isGateway);
    expect(gateways.map(nameOf).length).toBeGreaterThanOrEqual(2);
    expect(await dryRun(gateways)).toBe('');
  });

  test('control: a misspelt field is refused, in our own kinds and in others', async () => {
    const objects = rendered('local');
    const deployment = structuredClone(objects.find(({ kind }) => kind === 'Deployment')) as KubeObject;
    deployment.spec.replicsa = 1;
    await expect(dryRun([deployment])).rejects.toThrow(/unknown field "spec.replicsa"/);
    const resiliency = structuredClone(objects.find(({ kind }) => kind === 'Resiliency')) as KubeObject;
    resiliency.spec.polices = {};
    await expect(dryRun([resiliency])).rejects.toThrow(/unknown field "spec.polices"/);
  });
});
