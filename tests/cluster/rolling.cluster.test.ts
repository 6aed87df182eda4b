import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { openShop } from '../e2e/open-shop.ts';
import { sleep, type Target } from '../e2e/shop.ts';
import { type ClusterAccess, topology } from './cluster-shop.ts';
import { startLoad } from './load.ts';
import { livePods, nameLabel, restart, rolledOut, scale } from './workloads.ts';

const cluster = inject('cluster') as ClusterAccess;
const { namespace } = cluster;

let shop: Target;

beforeAll(async () => {
  shop = await openShop();
});
afterAll(async () => {
  await shop?.stop();
});

/** Does something under load, with a while of quiet load before and after it, and says how the load fared. */
async function underLoad(what: string, work: () => Promise<void>): Promise<void> {
  const load = await startLoad(shop, cluster);
  await sleep(2_000);
  await work();
  await sleep(2_000);
  const { byStatus, orders, latency, began, ended } = await load.finish();
  console.log(
    `${what}: ${Math.round((ended - began) / 1000)} s of load, answers ${JSON.stringify(byStatus)}, ${orders.length} orders, ` +
      `p50 ${latency.p50} ms, p99 ${latency.p99} ms, max ${latency.max} ms`,
  );
}

const podNames = async (service: string) =>
  (await livePods(namespace, nameLabel(service))).map(({ metadata }) => metadata.name);

describe('under load, nothing is lost and every request is answered', () => {
  test.each([...topology.services.map(({ name }) => name), 'platform'])(
    'in a rolling update of %s',
    async (service) => {
      const before = await podNames(service);
      await underLoad(`rolling update of ${service}`, () => restart(namespace, `deployment/${service}`));
      const after = await podNames(service);
      expect(after).toHaveLength(before.length);
      expect(after.filter((name) => before.includes(name))).toEqual([]);
    },
  );

  test('when orders goes to three replicas and back', async () => {
    await underLoad('orders to three replicas and back', async () => {
      await scale(namespace, 'deployment/orders', 3);
      expect(await podNames('orders')).toHaveLength(3);
      await sleep(3_000);
      await scale(namespace, 'deployment/orders', 1);
      await rolledOut(namespace, 'deployment/orders');
    });
  });
});
