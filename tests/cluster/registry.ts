import { parse } from 'yaml';
import { z } from 'zod';
import { exists, get } from './kubectl.ts';

export interface Registry {
  /** Where this machine pushes to, as in `localhost:5000`. */
  push: string;
  /** The same registry as the nodes call it when they pull. */
  pull: string;
}

const Hosting = z.object({ host: z.string(), hostFromContainerRuntime: z.string().optional() });

const CURE =
  'Set up a local registry that the cluster says of itself (https://kind.sigs.k8s.io/docs/user/local-registry/, `k3d cluster create --registry-create`, ctlptl).';

/** The registry that the cluster announces in the ConfigMap `local-registry-hosting` (KEP-1755). Throws with the cure. */
export async function findRegistry(): Promise<Registry> {
  if (!(await exists('configmap', 'local-registry-hosting', 'kube-public')))
    throw new Error(
      `The cluster announces no registry to push images to (ConfigMap local-registry-hosting in kube-public). ${CURE}`,
    );
  const { data } = await get('configmap', 'local-registry-hosting', 'kube-public');
  return readHosting(data);
}

/** As findRegistry, from the ConfigMap's data. */
export function readHosting(data: Record<string, string> | undefined): Registry {
  const parsed = Hosting.safeParse(parse(data?.['localRegistryHosting.v1'] ?? ''));
  if (!parsed.success)
    throw new Error(
      `The ConfigMap local-registry-hosting names no host under localRegistryHosting.v1. ${CURE}`,
    );
  const { host, hostFromContainerRuntime } = parsed.data;
  return { push: host, pull: hostFromContainerRuntime ?? host };
}
