import { type KubeObject, list } from './kubectl.ts';

type Condition = { type: string; status: string; message?: string };

/**
 * What to say when no node of the cluster is ready, with what the control plane knows of each; undefined while one is.
 * Pods are then kept waiting without an event or a state that says why.
 */
export function noNodeReady(nodes: readonly KubeObject[]): string | undefined {
  const faults = nodes.map(({ metadata, status }) => {
    const ready = (status?.conditions as Condition[] | undefined)?.find(({ type }) => type === 'Ready');
    if (ready?.status === 'True') return undefined;
    return `${metadata.name}${ready?.message ? ` (${ready.message})` : ''}`;
  });
  if (faults.some((fault) => fault === undefined)) return undefined;
  return `no node of the cluster is ready: ${faults.join(', ') || 'there is none'}. Cure: start it, or its kubelet, again, until \`kubectl get nodes\` says Ready.`;
}

/** As noNodeReady, of the cluster as it is now. */
export const askForNodes = async (): Promise<string | undefined> => noNodeReady(await list('nodes'));
