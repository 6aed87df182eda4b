import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { until } from '../e2e/shop.ts';
import { type ClusterAccess, topology } from './cluster-shop.ts';
import { apply, get, kubectl } from './kubectl.ts';
import { makeNamespace, removeNamespace } from './namespace.ts';
import { restrictedPod } from './restricted-pod.ts';
import { isReady, livePods, nameLabel } from './workloads.ts';

const cluster = inject('cluster') as ClusterAccess;
const ELSEWHERE = 'shop-elsewhere';

/** A pod with a sidecar of its own that is no service of the shop's. */
interface Caller {
  pod: string;
  namespace: string;
  appId: string;
}
const stranger: Caller = { pod: 'stranger', namespace: cluster.namespace, appId: 'stranger' };
/** It may call itself what it likes: its identity says which namespace it is of. */
const impostor: Caller = { pod: 'impostor', namespace: ELSEWHERE, appId: 'orders' };

const WAIT_FOR_EVER = 'setInterval(() => {}, 1000)';

async function start({ pod, namespace, appId }: Caller): Promise<void> {
  const object = restrictedPod(pod, namespace, cluster.images[topology.edge] ?? '', [
    '--eval',
    WAIT_FOR_EVER,
  ]);
  object.metadata.annotations = {
    'dapr.io/enabled': 'true',
    'dapr.io/app-id': appId,
    'dapr.io/sidecar-seccomp-profile-type': 'RuntimeDefault',
    'dapr.io/sidecar-cpu-request': '10m',
    'dapr.io/sidecar-memory-request': '32Mi',
  };
  // The sidecar shows sentry this ServiceAccount's token.
  object.spec.automountServiceAccountToken = true;
  await apply([object]);
  await until(
    `the pod ${pod} to be ready`,
    async () => isReady(await get('pod', pod, namespace)),
    90_000,
    500,
  );
}

/** The status that a request through the caller's sidecar gets. */
async function ask({ pod, namespace }: Caller, appId: string, method: string, path: string): Promise<number> {
  const program = `
    const [appId, method, path] = process.argv.slice(1);
    const body = method === 'GET' ? undefined : JSON.stringify({ skus: ['X'] });
    const token = process.env.DAPR_API_TOKEN;
    const headers = { 'dapr-app-id': appId, ...(body && { 'content-type': 'application/json' }), ...(token && { 'dapr-api-token': token }) };
    fetch('http://127.0.0.1:3500' + path, { method, headers, body }).then((answer) => console.log(answer.status));
  `;
  const command = [
    'exec',
    '-n',
    namespace,
    pod,
    '-c',
    'app',
    '--',
    'node',
    '--eval',
    program,
    appId,
    method,
    path,
  ];
  return Number(await kubectl(command));
}

beforeAll(async () => {
  await makeNamespace(ELSEWHERE);
  await Promise.all([start(stranger), start(impostor)]);
}, 180_000);
afterAll(async () => {
  await kubectl(['delete', 'pod', '-n', stranger.namespace, stranger.pod, '--ignore-not-found']);
  await removeNamespace(ELSEWHERE);
});

/** All operations of the shop, as concrete requests, with the service that has them. */
const operations = topology.calls.flatMap(({ callee, operations }) =>
  operations.map(({ method, path }) => ({ callee, method, path: path.replaceAll(/\{[^}]+\}/g, 'x') })),
);

describe('a caller that is in no row of the table is denied by the callee’s sidecar', () => {
  test('a pod of another identity in the same namespace, for every operation that there is', async () => {
    for (const { callee, method, path } of operations)
      expect([callee, method, path, await ask(stranger, callee, method, path)]).toEqual([
        callee,
        method,
        path,
        403,
      ]);
  });

  test('a pod that calls itself orders in another namespace, for what orders may call', async () => {
    for (const { callee, operations } of topology.calls.filter(({ caller }) => caller === 'orders'))
      for (const { method, path } of operations)
        expect(await ask(impostor, `${callee}.${cluster.namespace}`, method, path)).toBe(403);
  });

  test('control: the gateway’s own pod, asking in the same way, is let in', async () => {
    const [pod] = await livePods(cluster.namespace, nameLabel(topology.edge));
    const gateway = { pod: pod?.metadata.name ?? '', namespace: cluster.namespace, appId: topology.edge };
    for (const { callee, method, path } of operations.filter(({ method }) => method === 'GET'))
      expect([200, 404, 422], `${callee} ${path}`).toContain(await ask(gateway, callee, method, path));
  });
});
