import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import type { KubeObject } from './kubectl.ts';

/** Everything that these tests write is in here, a folder of the checkout that git does not know. */
export const WORK_FOLDER = join('.run', 'test-cluster');

/**
 * Writes a kustomization over an overlay, with images by service or further components, and returns its folder.
 * @param more.over another folder that is that overlay and more, such as tilt/dev
 */
export function overlayWith(
  overlay: string,
  more: { images?: Record<string, string>; components?: string[]; over?: string },
  name = overlay,
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
    namespace, // what a component adds here is in no namespace yet
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

/**
 * The same objects for another namespace, which then is all that differs: besides the objects' own namespace, it is in what
 * names callers by theirs, and in the cluster-wide object that is the namespace itself.
 */
export function movedTo(namespace: string, objects: KubeObject[]): KubeObject[] {
  return structuredClone(objects).map((object) => {
    if (object.kind === 'Namespace') object.metadata.name = namespace;
    else if (object.metadata.namespace) object.metadata.namespace = namespace;
    for (const policy of object.spec?.accessControl?.policies ?? []) policy.namespace = namespace;
    for (const subject of object.subjects ?? []) if (subject.namespace) subject.namespace = namespace;
    return object;
  });
}
