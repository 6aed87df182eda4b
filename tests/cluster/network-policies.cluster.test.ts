import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { render } from '../../k8s/manifests.ts';
import { openShop } from '../e2e/open-shop.ts';
import { orderEnds, placeUntilAccepted, productWithStock, until } from '../e2e/shop.ts';
import { type ClusterAccess, topology } from './cluster-shop.ts';
import { apply, asDocuments, get, kubectl } from './kubectl.ts';
import { makeNamespace, removeNamespace } from './namespace.ts';
import { overlayWith } from './overlay.ts';
import { reachable } from './reach.ts';
import { restrictedPod } from './restricted-pod.ts';
import { skip } from './skip.ts';
import { isReady, livePods, nameLabel } from './workloads.ts';

const { namespace, images } = inject('cluster') as ClusterAccess;
const CANARY = 'shop-canary';
const NOT_ENFORCED = 'this cluster enforces no network policy: a deny-all did not keep one pod from another';
const SERVE = "require('node:net').createServer((socket) => socket.end()).listen(8080)";

let enforced = false;

/** Two pods that reach each other, then a policy that denies all: whether they still do tells what the cluster makes of policies. */
beforeAll(async () => {
  await makeNamespace(CANARY);
  const image = images[topology.edge] ?? '';
  const pods = ['one', 'other'].map((name) => restrictedPod(name, CANARY, image, ['--eval', SERVE]));
  await apply(pods);
  const other = await until(
    'the canaries to be ready',
    async () => {
      const [one, two] = await Promise.all(['one', 'other'].map((name) => get('pod', name, CANARY)));
      return one && two && isReady(one) && isReady(two) && `${two.status.podIP}:8080`;
    },
    90_000,
    500,
  );
  const open = async () => (await reachable(CANARY, 'one', [other]))[other];
  await until('the canaries to reach each other', open, 30_000, 500);
  await apply([
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'deny-all', namespace: CANARY },
      spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
    },
  ]);
  // An agent that enforces policies may take some seconds to hear of this one.
  for (let attempt = 0; attempt < 3 && !enforced; attempt += 1) enforced = !(await open());
}, 180_000);
afterAll(() => removeNamespace(CANARY));

const SIDECAR = 50002;
const DATABASE = 5432;
const BROKER = 4222;

describe('network policies', () => {
  test('open what the table opens and nothing else, and orders go on', async (context) => {
    if (!enforced) return skip(context, NOT_ENFORCED);
    const policies = render(
      overlayWith('local', { components: ['network-policies'] }, 'local-policies'),
    ).filter(({ kind }) => kind === 'NetworkPolicy');
    await apply(policies);
    try {
      await expectTableInForce();
      const shop = await openShop();
      const sku = await productWithStock(shop.gatewayUrl, 5);
      const id = await placeUntilAccepted(shop.gatewayUrl, [{ sku, quantity: 1 }]);
      expect(await orderEnds(shop.gatewayUrl, id)).toBe('confirmed');
      await shop.stop();
    } finally {
      await kubectl(['delete', '-f', '-', '--ignore-not-found'], { input: asDocuments(policies) });
    }
  });

  test('control: without them every pod reaches every other', async () => {
    const { from, addresses } = await neighbours('inventory');
    const answers = await reachable(namespace, from, Object.keys(addresses));
    expect(Object.values(answers)).toEqual(Object.values(answers).map(() => true));
  });
});

/** The service's pod, and every neighbour's address with whether the table lets the service go there. */
async function neighbours(service: string): Promise<{ from: string; addresses: Record<string, boolean> }> {
  const podOf = async (name: string) => (await livePods(namespace, nameLabel(name)))[0];
  const row = topology.services.find(({ name }) => name === service);
  const usesBroker = topology.topics.some(({ publishers, consumers }) =>
    [...publishers, ...consumers].includes(service),
  );
  const addresses: Record<string, boolean> = {};
  for (const { name, port } of topology.services.filter(({ name }) => name !== service)) {
    const ip = (await podOf(name))?.status.podIP;
    addresses[`${ip}:${SIDECAR}`] = topology.calls.some(
      ({ caller, callee }) => caller === service && callee === name,
    );
    addresses[`${ip}:${port}`] = false;
  }
  addresses[`${(await podOf('postgres'))?.status.podIP}:${DATABASE}`] = row?.database ?? false;
  addresses[`${(await podOf('nats'))?.status.podIP}:${BROKER}`] = usesBroker;
  return { from: (await podOf(service))?.metadata.name ?? '', addresses };
}

async function expectTableInForce(): Promise<void> {
  for (const { name } of topology.services) {
    const { from, addresses } = await neighbours(name);
    const answers = await reachable(namespace, from, Object.keys(addresses));
    expect({ [name]: answers }).toEqual({ [name]: addresses });
  }
}
