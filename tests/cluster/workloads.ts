import { setTimeout as sleep } from 'node:timers/promises';
import { type KubeObject, kubectl, list } from './kubectl.ts';
import { askForNodes } from './nodes.ts';

export const nameLabel = (name: string) => `app.kubernetes.io/name=${name}`;

/** Pods that are there to stay: not finished, not on their way out. */
export async function livePods(namespace: string, selector?: string): Promise<KubeObject[]> {
  const pods = await list('pods', namespace, selector);
  return pods.filter(
    (pod) => !pod.metadata.deletionTimestamp && !['Succeeded', 'Failed'].includes(pod.status?.phase),
  );
}

export const isReady = (pod: KubeObject): boolean =>
  (pod.status?.conditions ?? []).some(
    (condition: { type: string; status: string }) =>
      condition.type === 'Ready' && condition.status === 'True',
  );

/** Why a pod is not ready, in a word or two, as `kubectl get pods` has it. */
export function podState(pod: KubeObject): string {
  const { initContainerStatuses = [], containerStatuses = [], phase = 'Pending' } = pod.status ?? {};
  type Status = {
    ready: boolean;
    started?: boolean;
    state?: { waiting?: { reason: string }; terminated?: { reason: string; exitCode: number } };
  };
  for (const status of initContainerStatuses as Status[]) {
    if (status.state?.terminated?.exitCode === 0 || status.started) continue;
    return `init: ${status.state?.waiting?.reason ?? status.state?.terminated?.reason ?? 'running'}`;
  }
  for (const { state } of containerStatuses as Status[]) {
    const reason = state?.waiting?.reason ?? state?.terminated?.reason;
    if (reason) return reason;
  }
  return isReady(pod) ? 'ready' : phase === 'Running' ? 'not ready yet' : phase;
}

/** What a pod does not get out of by waiting; nor does it when no node is there to run it. */
const STUCK = /ErrImagePull|ImagePullBackOff|InvalidImageName|CreateContainerConfigError/;
const STUCK_MS = 45_000;
/** How often the nodes are asked for: never in a start that goes well within that time. */
const NODES_EVERY_MS = 15_000;

/**
 * Waits until every Deployment and StatefulSet of the namespace has all its pods updated and ready, and says what it waits for
 * whenever that changes.
 * @throws with the state, the events and the end of the logs of what is not ready, after `timeoutMs`,
 *   or earlier when it cannot become so.
 */
export async function waitUntilReady(
  namespace: string,
  say: (text: string) => void,
  timeoutMs = 300_000,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  let last = '';
  let nodes: string | undefined;
  let nodesAskedAt = Date.now();
  let stuckSince = Number.POSITIVE_INFINITY;
  for (;;) {
    const workloads = [...(await list('deployments', namespace)), ...(await list('statefulsets', namespace))];
    const waiting = workloads
      .filter((workload) => !isRolledOut(workload))
      .map(({ metadata }) => metadata.name);
    if (waiting.length === 0) return;
    const pods = await livePods(namespace);
    const states = waiting.map((name) => {
      const unready = pods.find(
        (pod) => pod.metadata.labels?.['app.kubernetes.io/name'] === name && !isReady(pod),
      );
      return `${name} (${unready ? podState(unready) : 'not all there'})`;
    });
    if (Date.now() - nodesAskedAt > NODES_EVERY_MS) {
      nodes = await askForNodes();
      nodesAskedAt = Date.now();
    }
    const text = `${workloads.length - waiting.length} of ${workloads.length} ready; waiting for ${states.join(', ')}${nodes ? `; ${nodes}` : ''}`;
    if (text !== last) say(text);
    last = text;
    stuckSince = nodes || STUCK.test(text) ? Math.min(stuckSince, Date.now()) : Number.POSITIVE_INFINITY;
    if (Date.now() > Math.min(end, stuckSince + STUCK_MS))
      throw new Error(`not ready: ${text}\n${await troubles(namespace)}`);
    await sleep(1_000);
  }
}

export function isRolledOut({ spec, status, metadata }: KubeObject): boolean {
  const wanted = spec.replicas ?? 1;
  return (
    status?.observedGeneration === metadata.generation &&
    (status.updatedReplicas ?? 0) === wanted &&
    (status.replicas ?? 0) === wanted &&
    (status.readyReplicas ?? 0) === wanted
  );
}

async function troubles(namespace: string): Promise<string> {
  const parts: string[] = [];
  for (const pod of (await livePods(namespace)).filter((pod) => !isReady(pod))) {
    const { name } = pod.metadata;
    parts.push(`--- ${name}: ${podState(pod)}`);
    parts.push(
      await kubectl(['logs', '-n', namespace, name, '--all-containers', '--prefix', '--tail=10']).catch(
        String,
      ),
    );
  }
  const events = [
    'get',
    'events',
    '-n',
    namespace,
    '--field-selector',
    'type=Warning',
    '--sort-by=.lastTimestamp',
  ];
  const warnings = (await kubectl(events).catch(String)).split('\n').slice(-30);
  return [...parts, '--- latest warnings', ...warnings].join('\n');
}

/** A rolling update of one workload to the same version; resolves when the last old pod is gone. */
export async function restart(namespace: string, workload: string): Promise<void> {
  await renew(namespace, workload);
  await rolledOut(namespace, workload);
}

/** As restart, but resolves when the new pods have taken over and the old ones may still be leaving. */
export async function renew(namespace: string, workload: string): Promise<void> {
  await kubectl(['rollout', 'restart', '-n', namespace, workload]);
  await rolloutStatus(namespace, workload);
}

export async function scale(namespace: string, workload: string, replicas: number): Promise<void> {
  await kubectl(['scale', '-n', namespace, workload, `--replicas=${replicas}`]);
  await rolledOut(namespace, workload);
}

/** Waits for a rolling update to end, and for the pods that it replaced or took away to be gone. */
export async function rolledOut(namespace: string, workload: string): Promise<void> {
  await rolloutStatus(namespace, workload);
  const [, name = ''] = workload.split('/');
  const end = Date.now() + 120_000;
  while ((await list('pods', namespace, nameLabel(name))).some((pod) => pod.metadata.deletionTimestamp)) {
    if (Date.now() > end) throw new Error(`pods of ${workload} are still ending after 120 s`);
    await sleep(500);
  }
}

async function rolloutStatus(namespace: string, workload: string): Promise<void> {
  await kubectl(['rollout', 'status', '-n', namespace, workload, '--timeout=180s'], { timeoutMs: 185_000 });
}
