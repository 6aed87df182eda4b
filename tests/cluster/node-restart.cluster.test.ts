import { execa } from 'execa';
import { expect, inject, test } from 'vitest';
import { openShop } from '../e2e/open-shop.ts';
import { orderEnds, placeUntilAccepted, productWithStock, stockOf, until } from '../e2e/shop.ts';
import type { ClusterAccess } from './cluster-shop.ts';
import { list } from './kubectl.ts';
import { skip } from './skip.ts';
import { waitUntilReady } from './workloads.ts';

const { namespace } = inject('cluster') as ClusterAccess;
const command = process.env.SIDECART_NODE_RESTART;

test('after the node was stopped and started every pod is ready, and an order placed before reaches its end', async (context) => {
  if (!command) return skip(context, 'SIDECART_NODE_RESTART names no command that stops and starts the node');
  const before = await openShop();
  const sku = await productWithStock(before.gatewayUrl, 10);
  const id = await placeUntilAccepted(before.gatewayUrl, [{ sku, quantity: 2 }]);
  await before.stop();

  const where = [namespace, 'dapr-system'];
  const old = await runningContainers(where);
  expect(old.size).toBeGreaterThan(0);
  const restarted = await execa(command, { shell: true, all: true, reject: false, timeout: 600_000 });
  expect(restarted.exitCode, restarted.all).toBe(0);
  // Until the node is back, the API server tells of its pods what it knew before.
  await until(
    'every container to run anew',
    async () => ![...(await runningContainers(where))].some((id) => old.has(id)),
    300_000,
    1_000,
  );
  for (const one of where) await waitUntilReady(one, console.log);

  const after = await openShop();
  try {
    expect(await orderEnds(after.gatewayUrl, id, 120_000)).toBe('confirmed');
    await until('the stock to move', async () => (await stockOf(after.gatewayUrl, sku)).committed === 2);
    const next = await placeUntilAccepted(after.gatewayUrl, [{ sku, quantity: 1 }]);
    expect(await orderEnds(after.gatewayUrl, next)).toBe('confirmed');
  } finally {
    await after.stop();
  }
}, 1_200_000);

async function runningContainers(namespaces: string[]): Promise<Set<string>> {
  const pods = (await Promise.all(namespaces.map((one) => list('pods', one)))).flat();
  const statuses = pods.flatMap(({ status }) => [
    ...(status.initContainerStatuses ?? []),
    ...(status.containerStatuses ?? []),
  ]);
  return new Set(statuses.filter(({ state }) => state.running).map(({ containerID }) => containerID));
}
