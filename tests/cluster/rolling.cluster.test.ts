import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { openShop } from '../e2e/open-shop.ts';
import { sleep, type Target } from '../e2e/shop.ts';
import { type ClusterAccess, topology } from './cluster-shop.ts';
import { get, kubectl } from './kubectl.ts';
import { expectNothingLost, type Load, startLoad } from './load.ts';
import type { LoadReport } from './load-program.ts';
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
async function underLoad(
  what: string,
  work: () => Promise<void>,
): Promise<{ load: Load; report: LoadReport }> {
  const load = await startLoad(shop, cluster);
  await sleep(2_000);
  await work();
  await sleep(2_000);
  const report = await load.stop();
  const { byStatus, orders, handedOver, latency, began, ended } = report;
  console.log(
    `${what}: ${Math.round((ended - began) / 1000)} s of load, answers ${JSON.stringify(byStatus)}, ${orders.length} orders, ${handedOver.length} handed over, ` +
      `p50 ${latency.p50} ms, p99 ${latency.p99} ms, max ${latency.max} ms`,
  );
  return { load, report };
}

async function losesNothing(what: string, work: () => Promise<void>): Promise<void> {
  const { load, report } = await underLoad(what, work);
  await expectNothingLost(shop, load, report);
}

async function setLifecycle(service: string, lifecycle: object | null): Promise<void> {
  const patch = { spec: { template: { spec: { containers: [{ name: 'app', lifecycle }] } } } };
  await kubectl(['patch', '-n', namespace, `deployment/${service}`, '--patch', JSON.stringify(patch)]);
  await rolledOut(namespace, `deployment/${service}`);
}

const podNames = async (service: string) =>
  (await livePods(namespace, nameLabel(service))).map(({ metadata }) => metadata.name);

describe('under load, nothing is lost and every request is answered', () => {
  test.each([...topology.services.map(({ name }) => name), 'platform'])(
    'in a rolling update of %s',
    async (service) => {
      const before = await podNames(service);
      await losesNothing(`rolling update of ${service}`, () => restart(namespace, `deployment/${service}`));
      const after = await podNames(service);
      expect(after).toHaveLength(before.length);
      expect(after.filter((name) => before.includes(name))).toEqual([]);
    },
  );

  test('when orders goes to three replicas and back', async () => {
    await losesNothing('orders to three replicas and back', async () => {
      await scale(namespace, 'deployment/orders', 3);
      expect(await podNames('orders')).toHaveLength(3);
      await sleep(3_000);
      await scale(namespace, 'deployment/orders', 1);
    });
  });

  test('control: without the wait before a pod’s end, requests are lost', async () => {
    const { spec } = await get('deployment', 'products', namespace);
    const { lifecycle } = spec.template.spec.containers[0];
    await setLifecycle('products', null);
    try {
      // What fails is what was on its way to the pod when it went: four requests in the run that is recorded. One roll-out may
      // be lucky, three in a row hardly.
      let lost = 0;
      for (let round = 1; round <= 3 && lost === 0; round += 1) {
        const { report } = await underLoad(`rolling update ${round} of products without preStop`, () =>
          restart(namespace, 'deployment/products'),
        );
        lost = report.faults.length;
      }
      expect(lost).toBeGreaterThan(0);
    } finally {
      await setLifecycle('products', lifecycle);
    }
  }, 600_000);
});
