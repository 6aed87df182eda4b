import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { brokerServer } from '../../generator/kubernetes.ts';
import { render } from '../../k8s/manifests.ts';
import { openShop } from '../e2e/open-shop.ts';
import { orderEnds, placeUntilAccepted, productWithStock, sleep, until } from '../e2e/shop.ts';
import { type ClusterAccess, simulators, topology } from './cluster-shop.ts';
import { apply, asDocuments, get, type KubeObject, kubectl, list } from './kubectl.ts';
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

/**
 * Two pods that reach each other, then a policy that denies all: whether they still do tells what the cluster makes of
 * policies. A third, `open`, is one that no policy of its own namespace holds back.
 */
beforeAll(async () => {
  await makeNamespace(CANARY);
  const image = images[topology.edge] ?? '';
  const pods = ['one', 'other', 'open'].map((name) => restrictedPod(name, CANARY, image, ['--eval', SERVE]));
  await apply(pods);
  await until(
    'the canaries to be ready',
    async () => (await list('pods', CANARY)).filter(isReady).length === pods.length,
    90_000,
    500,
  );
  const other = `${await ipOf(CANARY, nameLabel('other'))}:8080`;
  const open = async () => (await reachable(CANARY, 'one', [other]))[other];
  await until('the canaries to reach each other', open, 30_000, 500);
  await apply([
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'deny-all-of-one', namespace: CANARY },
      spec: {
        podSelector: { matchLabels: { 'app.kubernetes.io/name': 'one' } },
        policyTypes: ['Ingress', 'Egress'],
      },
    },
  ]);
  // An agent that enforces policies may take some seconds to hear of this one.
  for (let attempt = 0; attempt < 10 && !enforced; attempt += 1) {
    enforced = !(await open());
    if (!enforced) await sleep(1_000);
  }
}, 180_000);
afterAll(() => removeNamespace(CANARY));

const SIDECAR = 50002;
const DATABASE = 5432;
const BROKER = brokerServer(topology.broker);
const NAMES = 53;
/** Those of a shop's pod that runs Node, from which addresses can be tried. */
const PODS = [...topology.services, ...simulators, { name: 'platform' }].map(({ name }) => name);

describe('network policies', () => {
  test('open what the table opens and nothing else, inside the namespace and out of it, and orders go on', async (context) => {
    if (!enforced) return skip(context, NOT_ENFORCED);
    const policies = render(
      overlayWith('local', { components: ['network-policies'] }, 'local-policies'),
    ).filter(({ kind }) => kind === 'NetworkPolicy');
    await apply(policies);
    try {
      // Each node's agent hears of them in its own time.
      await until(
        'the table to be in force',
        async () => isDeepStrictEqual(...(await tables())),
        60_000,
        2_000,
      ).catch(() => {});
      const [answers, wanted] = await tables();
      expect(answers).toEqual(wanted);
      expect(await reachedFromElsewhere()).toEqual([]);
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
    await until(
      'the policies to be gone',
      async () => {
        const [answers] = await tables();
        return Object.values(answers).every((reached) => Object.values(reached).every(Boolean));
      },
      60_000,
      2_000,
    );
    if (enforced) expect((await reachedFromElsewhere()).length).toBeGreaterThan(PODS.length);
  });
});

type Table = Record<string, Record<string, boolean>>;

/** What every pod reaches of what there is, and what it should. */
async function tables(): Promise<[Table, Table]> {
  const answers: Table = {};
  const wanted: Table = {};
  for (const name of PODS) {
    const { from, addresses } = await neighbours(name);
    answers[name] = await reachable(namespace, from, Object.keys(addresses));
    wanted[name] = addresses;
  }
  return [answers, wanted];
}

/** A pod of the shop, and the addresses of the others and of what is outside, each with whether the pod may go there. */
async function neighbours(name: string): Promise<{ from: string; addresses: Record<string, boolean> }> {
  const row = topology.services.find((service) => service.name === name);
  const simulator = simulators.find((one) => one.name === name);
  const usesDatabase = row?.database ?? !simulator;
  const usesBroker =
    name === 'platform' ||
    topology.topics.some(({ publishers, consumers }) => [...publishers, ...consumers].includes(name));
  const addresses: Record<string, boolean> = {};
  for (const { name: other, port } of topology.services.filter((service) => service !== row)) {
    const ip = await ipOf(namespace, nameLabel(other));
    addresses[`${ip}:${SIDECAR}`] = topology.calls.some(
      ({ caller, callee }) => caller === name && callee === other,
    );
    // The webhooks of somebody else's company come in as its other customers' requests do.
    addresses[`${ip}:${port}`] = other === topology.edge && simulator?.webhooks !== undefined;
  }
  for (const { name: other, port, users } of simulators.filter((one) => one !== simulator))
    addresses[`${await ipOf(namespace, nameLabel(other))}:${port}`] = users.includes(name);
  addresses[`${await ipOf(namespace, nameLabel('postgres'))}:${DATABASE}`] = usesDatabase;
  addresses[`${await ipOf(namespace, nameLabel(BROKER.name))}:${BROKER.port}`] = usesBroker;
  addresses[`${await ipOf('kube-system', 'k8s-app=kube-dns')}:${NAMES}`] = true;
  addresses[`${await ipOf('dapr-system', 'app=dapr-sentry')}:50001`] = row !== undefined;
  addresses[`${await ipOf('dapr-system', 'app=dapr-operator')}:6500`] = row !== undefined;
  addresses[`${await ipOf(CANARY, nameLabel('open'))}:8080`] = false;
  addresses[`${(await get('service', 'kubernetes', 'default')).spec.clusterIP}:443`] =
    row !== undefined && usesDatabase;
  return { from: (await podOf(namespace, nameLabel(name))).metadata.name, addresses };
}

/** What of the shop a pod of another namespace reaches. */
async function reachedFromElsewhere(): Promise<string[]> {
  const addresses: string[] = [];
  for (const { name, port } of simulators)
    addresses.push(`${await ipOf(namespace, nameLabel(name))}:${port}`);
  for (const { name, port } of topology.services) {
    const ip = await ipOf(namespace, nameLabel(name));
    addresses.push(`${ip}:${port}`, `${ip}:${SIDECAR}`);
  }
  addresses.push(`${await ipOf(namespace, nameLabel('postgres'))}:${DATABASE}`);
  addresses.push(`${await ipOf(namespace, nameLabel(BROKER.name))}:${BROKER.port}`);
  const answers = await reachable(CANARY, 'open', addresses);
  return addresses.filter((address) => answers[address]);
}

async function podOf(where: string, label: string): Promise<KubeObject> {
  const pod = (await livePods(where, label)).find(isReady);
  if (!pod) throw new Error(`no pod ${label} is ready in ${where}`);
  return pod;
}

const ipOf = async (where: string, label: string): Promise<string> =>
  (await podOf(where, label)).status.podIP;
