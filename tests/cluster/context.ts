import { looksLocal } from '../../k8s/kubectl.ts';

/** What `npm run test:cluster` does with the machine's kube contexts: it runs on one, has none to run on, or will not. */
export type Choice = { use: string } | { skip: string } | { refuse: string };

/**
 * Which context to test on: `told` (SIDECART_CONTEXT) whatever it is called, else the current one if it is local by its
 * name. These tests delete pods and restart what they find, so nothing else is taken by accident.
 */
export function chooseContext(o: { told?: string; current?: string; all: string[] }): Choice {
  if (o.told) {
    if (o.all.includes(o.told)) return { use: o.told };
    const known = o.all.length > 0 ? `there are ${o.all.join(', ')}` : 'there is none at all';
    return {
      refuse: `SIDECART_CONTEXT=${o.told} names no context of kubectl; ${known} (kubectl config get-contexts).`,
    };
  }
  if (!o.current)
    return { skip: 'kubectl has no current context (kubectl config use-context NAME sets one)' };
  if (looksLocal(o.current)) return { use: o.current };
  return {
    refuse:
      `The current context ${o.current} is not local by its name (kind-*, k3d-*, minikube, docker-desktop and the like), and ` +
      `these tests delete pods and restart workloads. If it is meant: SIDECART_CONTEXT=${o.current} npm run test:cluster`,
  };
}
