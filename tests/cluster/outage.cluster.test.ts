import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { openShop } from '../e2e/open-shop.ts';
import {
  deadLetters,
  orderEnds,
  placeUntilAccepted,
  productWithStock,
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

async function unreadyServices(): Promise<string[]> {
  const pods = await list('pods', namespace, 'app.kubernetes.io/component=service');
  return pods.filter((pod) => !isReady(pod)).map(({ metadata }) => metadata.name);
}

test('the database away for a minute: no pod is blamed, no message given up, every order reaches its end', async () => {
  const sku = await productWithStock(shop.gatewayUrl, 20);
  const ids: string[] = [];
  for (let i = 0; i < 5; i += 1) ids.push(await placeUntilAccepted(shop.gatewayUrl, [{ sku, quantity: 1 }]));
  await without('postgres', async () => {
    await sleep(60_000);
    expect(await unreadyServices()).toEqual([]);
  });
  // The way of this test to the database ended with its pod.
  await shop.stop();
  shop = await openShop();
  ids.push(await placeUntilAccepted(shop.gatewayUrl, [{ sku, quantity: 1 }]));
  for (const id of ids) expect(await orderEnds(shop.gatewayUrl, id, 90_000)).toBe('confirmed');
  await until(
    'stock to move once',
    async () => (await stockOf(shop.gatewayUrl, sku)).committed === ids.length,
    60_000,
  );
  expect(await deadLetters(shop)).toEqual([]);
});

test('the broker comes back with an empty volume: streams and consumers are made again, and orders go on', async () => {
  const sku = await productWithStock(shop.gatewayUrl, 20);
  const pods = async () => {
    const all = await list('pods', namespace, 'app.kubernetes.io/component=service');
    return all.map(({ metadata }) => metadata.uid).sort();
  };
  const before = await pods();
  await without('nats', async () => {
    await kubectl(['delete', 'pvc', '-n', namespace, 'data-nats-0']);
  });
  const id = await placeUntilAccepted(shop.gatewayUrl, [{ sku, quantity: 1 }]);
  expect(await orderEnds(shop.gatewayUrl, id, 120_000)).toBe('confirmed');
  expect(before).toHaveLength(topology.services.length);
  expect(await pods()).toEqual(before);
});
