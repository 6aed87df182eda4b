import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { brokerServer } from '../../generator/kubernetes.ts';
import { openShop } from '../e2e/open-shop.ts';
import {
  deadLetters,
  orderEnds,
  orderStatus,
  placeUntilAccepted,
  productWithStock,
  query,
  sleep,
  stockOf,
  type Target,
  until,
} from '../e2e/shop.ts';
import { type ClusterAccess, topology } from './cluster-shop.ts';
import { kubectl, list } from './kubectl.ts';
import { isReady, nameLabel, rolledOut } from './workloads.ts';

const { namespace } = inject('cluster') as ClusterAccess;
let shop: Target;

beforeAll(async () => {
  shop = await openShop();
});
afterAll(async () => {
  await shop?.stop();
});

/** Takes every pod of a StatefulSet away, does something, and brings them back. */
async function without(name: string, meanwhile: () => Promise<void>): Promise<void> {
  await kubectl(['scale', '-n', namespace, `statefulset/${name}`, '--replicas=0']);
  try {
    await until(
      `${name} to be gone`,
      async () => (await list('pods', namespace, nameLabel(name))).length === 0,
      60_000,
    );
    await meanwhile();
  } finally {
    await kubectl(['scale', '-n', namespace, `statefulset/${name}`, '--replicas=1']);
  }
  await rolledOut(namespace, `statefulset/${name}`);
}

const servicePods = () => list('pods', namespace, 'app.kubernetes.io/component=service');

/** Every pod of a service that is not ready at one of the moments looked at during that time, a few seconds apart. */
async function unreadyDuring(ms: number): Promise<string[]> {
  const unready = new Set<string>();
  for (const end = Date.now() + ms; Date.now() < end; await sleep(5_000))
    for (const pod of await servicePods()) if (!isReady(pod)) unready.add(pod.metadata.name);
  return [...unready];
}

/** How often the kubelet has started the program of each pod of a service anew. */
async function restarts(): Promise<Record<string, number>> {
  const pods = await servicePods();
  return Object.fromEntries(
    pods.map(({ metadata, status }) => {
      const app = status.containerStatuses.find(({ name }: { name: string }) => name === 'app');
      return [metadata.name, app.restartCount];
    }),
  );
}

async function stockMovedOnce(sku: string, orders: number): Promise<void> {
  await until(
    'the stock of each order to be committed, once',
    async () => (await stockOf(shop.gatewayUrl, sku)).committed === orders,
    60_000,
  );
}

test('the database away for a minute: no pod is blamed, no message given up, every order reaches its end', async () => {
  const sku = await productWithStock(shop.gatewayUrl, 20);
  const ids: string[] = [];
  for (let i = 0; i < 5; i += 1) ids.push(await placeUntilAccepted(shop.gatewayUrl, [{ sku, quantity: 1 }]));
  const before = await restarts();
  await without('postgres', async () => {
    expect(await unreadyDuring(60_000)).toEqual([]);
  });
  // The way of this test to the database ended with its pod.
  await shop.stop();
  shop = await openShop();
  ids.push(await placeUntilAccepted(shop.gatewayUrl, [{ sku, quantity: 1 }]));
  for (const id of ids) expect(await orderEnds(shop.gatewayUrl, id, 90_000)).toBe('confirmed');
  await stockMovedOnce(sku, ids.length);
  expect(await deadLetters(shop)).toEqual([]);
  expect(Object.keys(before)).toHaveLength(topology.services.length);
  expect(await restarts()).toEqual(before);
});

test('the broker comes back with an empty volume after half a minute, and with it what it had acknowledged: no pod is blamed, and every order reaches its end', async () => {
  const broker = brokerServer(topology.broker).name;
  const sku = await productWithStock(shop.gatewayUrl, 20);
  // Nobody takes the commands, so the broker alone has them when it loses its volume.
  await shop.hold('inventory');
  const ids: string[] = [];
  try {
    for (let i = 0; i < 5; i += 1)
      ids.push(await placeUntilAccepted(shop.gatewayUrl, [{ sku, quantity: 1 }]));
    await until(
      'everything to be acknowledged',
      async () => (await query(shop, 'orders', 'SELECT FROM outbox')).length === 0,
      30_000,
    );
    const before = await restarts();
    expect(Object.keys(before)).toHaveLength(topology.services.length - 1);
    await without(broker, async () => {
      await kubectl(['delete', 'pvc', '-n', namespace, `data-${broker}-0`]);
      expect(await unreadyDuring(30_000)).toEqual([]);
    });
    for (const id of ids) expect(await orderStatus(shop.gatewayUrl, id)).toBe('placed');
    expect(await restarts()).toEqual(before);
  } finally {
    await shop.release('inventory');
  }
  ids.push(await placeUntilAccepted(shop.gatewayUrl, [{ sku, quantity: 1 }]));
  for (const id of ids) expect(await orderEnds(shop.gatewayUrl, id, 120_000)).toBe('confirmed');
  await stockMovedOnce(sku, ids.length);
  expect(await deadLetters(shop)).toEqual([]);
});
