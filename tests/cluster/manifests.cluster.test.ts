import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { nameOf, render } from '../../k8s/manifests.ts';
import { asDocuments, exists, type KubeObject, kubectlBoth } from './kubectl.ts';
import { makeNamespace, removeNamespace } from './namespace.ts';
import { movedTo, overlayWith } from './overlay.ts';
import { skip } from './skip.ts';

/** Empty, so that every object is judged as a new one and not as a change of what runs. */
const NAMESPACE = 'shop-dry-run';

beforeAll(() => makeNamespace(NAMESPACE));
afterAll(() => removeNamespace(NAMESPACE));

/** What the API server says to objects that it would have to take exactly as they are: an error, or its warnings. */
async function dryRun(objects: KubeObject[]): Promise<string> {
  const elsewhere = movedTo(NAMESPACE, objects).filter(({ kind }) => kind !== 'Namespace');
  const args = ['create', '--dry-run=server', '--validate=strict', '-f', '-'];
  return (await kubectlBoth(args, { input: asDocuments(elsewhere), timeoutMs: 120_000 })).stderr;
}

const isGateway = ({ apiVersion }: KubeObject) => apiVersion.startsWith('gateway.networking.k8s.io/');
/** What a kustomization includes, directly or not, as names of folders in k8s/components. */
function included(folder: string): string[] {
  const { components = [] } = parse(readFileSync(join(folder, 'kustomization.yaml'), 'utf8')) as {
    components?: string[];
  };
  return components.flatMap((path) => [basename(path), ...included(join(folder, path))]);
}
/** Those that the overlay has are tried with it. */
const components = readdirSync('k8s/components').filter(
  (name) =>
    existsSync(join('k8s/components', name, 'kustomization.yaml')) &&
    !included('k8s/overlays/local').includes(name),
);

describe('every manifest is accepted by a strict server-side dry run, without a warning', () => {
  test.each(['local', 'production'])('overlay %s', async (overlay) => {
    const objects = render(join('k8s/overlays', overlay));
    expect(await dryRun(objects.filter((object) => !isGateway(object)))).toBe('');
  });

  test.each(components)('component %s on the local overlay', async (component) => {
    const plain = render('k8s/overlays/local').map((object) => JSON.stringify(object));
    const objects = render(overlayWith('local', { components: [component] }, `local-${component}`));
    const added = objects.filter((object) => !isGateway(object) && !plain.includes(JSON.stringify(object)));
    if (added.length > 0) expect(await dryRun(added)).toBe('');
  });

  test('the Gateway API’s', async (context) => {
    if (!(await exists('customresourcedefinition', 'httproutes.gateway.networking.k8s.io')))
      return skip(context, 'this cluster has no definitions of the Gateway API');
    const objects = render(overlayWith('local', { components: ['ingress'] }, 'local-ingress')).filter(
      isGateway,
    );
    expect(objects.map(nameOf).length).toBeGreaterThanOrEqual(2);
    expect(await dryRun(objects)).toBe('');
  });

  test('control: a misspelt field is refused, in our own kinds and in others', async () => {
    const objects = render('k8s/overlays/local');
    const deployment = structuredClone(objects.find(({ kind }) => kind === 'Deployment')) as KubeObject;
    deployment.spec.replicsa = 1;
    await expect(dryRun([deployment])).rejects.toThrow(/unknown field "spec.replicsa"/);
    const resiliency = structuredClone(objects.find(({ kind }) => kind === 'Resiliency')) as KubeObject;
    resiliency.spec.polices = {};
    await expect(dryRun([resiliency])).rejects.toThrow(/unknown field "spec.polices"/);
  });
});
