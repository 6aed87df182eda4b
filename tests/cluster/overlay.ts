import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';

/** Everything that these tests write is in here, a folder of the checkout that git does not know. */
export const WORK_FOLDER = join('.run', 'test-cluster');

/**
 * Writes a kustomization over an overlay, with images by service or further components, and returns its folder.
 * @param more.over another folder that is that overlay and more, such as tilt/dev
 * @param more.namespace another namespace, in the way that docs/kubernetes.md has for it
 */
export function overlayWith(
  overlay: string,
  more: { images?: Record<string, string>; components?: string[]; over?: string; namespace?: string },
  name = more.namespace ? `${overlay}-in-${more.namespace}` : overlay,
): string {
  const folder = join(WORK_FOLDER, name);
  mkdirSync(folder, { recursive: true });
  const release = parse(readFileSync(join('k8s/overlays', overlay, 'release.yaml'), 'utf8')) as {
    data: { images: string };
  };
  const { namespace } = parse(readFileSync(join('k8s/overlays', overlay, 'kustomization.yaml'), 'utf8')) as {
    namespace: string;
  };
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    namespace: more.namespace ?? namespace, // what a component adds here is in no namespace yet
    ...(more.namespace ? { transformers: ['../../../k8s/transformers/namespace'] } : {}),
    resources: [`../../../${more.over ?? `k8s/overlays/${overlay}`}`],
    components: (more.components ?? []).map((component) => `../../../k8s/components/${component}`),
    images: Object.entries(more.images ?? {}).map(([service, image]) => {
      const colon = image.lastIndexOf(':');
      return {
        name: `${release.data.images}/${service}`,
        newName: image.slice(0, colon),
        newTag: image.slice(colon + 1),
      };
    }),
  };
  writeFileSync(join(folder, 'kustomization.yaml'), stringify(kustomization));
  return folder;
}
