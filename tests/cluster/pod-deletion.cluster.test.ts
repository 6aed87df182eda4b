import { seededRandom } from '@sidecart/kit/seeded-random';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { brokerServer } from '../../generator/kubernetes.ts';
import { openReads } from '../../local/plan.ts';
import { createClient, follow, place } from '../e2e/checkout-client.ts';
import { killWhileOrdersAreOnTheirWay, stockOff, type Victim } from '../e2e/kills.ts';
import { openShop } from '../e2e/open-shop.ts';
import { call, productWithStock, type Target, until } from '../e2e/shop.ts';
import { seed } from '../seed.ts';
import { type ClusterAccess, simulators, topology } from './cluster-shop.ts';
import { kubectl, list } from './kubectl.ts';
import { isReady, livePods, nameLabel } from './workloads.ts';

const { namespace } = inject('cluster') as ClusterAccess;
const random = seededRandom(seed);

let shop: Target;

beforeAll(async () => {
  console.log(`SEED=${seed}`);
  shop = await openShop();
});
beforeEach(settled);
afterAll(async () => {
  await shop?.stop();
});

/**
 * The last victim is back; now the others hear of that: a sidecar may ask for a neighbour where it was before for some twenty
 * seconds, and a port-forward needs a moment to find another pod.
 */
async function settled(): Promise<void> {
  let inARow = 0;
  await until(
    'every service to answer through the gateway, several times in a row',
    async () => {
      const paths = openReads(topology);
      const answers = await Promise.all(paths.map((path) => call(shop.gatewayUrl, 'GET', path))).catch(
        () => [],
      );
      const well = answers.length > 0 && answers.every(({ status }) => status === 200);
      inARow = well ? inARow + 1 : 0;
      return inARow === 5;
    },
    90_000,
    300,
  );
}

/** All pods of one kind, to be given one second to end: hardly better than a crash. */
async function podVictim(where: string, selector: string): Promise<Victim> {
  const before = await livePods(where, selector);
  expect(before.length, `pods with ${selector} in ${where}`).toBeGreaterThan(0);
  const old = new Set(before.map(({ metadata }) => metadata.uid));
  return {
    name: selector,
    kill: async () => {
      await kubectl(['delete', 'pod', '-n', where, '-l', selector, '--grace-period=1', '--wait=false']);
    },
    isBack: async () => {
      const pods = await list('pods', where, selector);
      return pods.length === before.length && pods.every((pod) => !old.has(pod.metadata.uid) && isReady(pod));
    },
  };
}

const ours = [
  ...topology.services.map(({ name }) => name),
  ...simulators.map(({ name }) => name),
  'platform',
  'postgres',
  brokerServer(topology.broker).name,
];
const daprs = ['dapr-operator', 'dapr-sentry', 'dapr-sidecar-injector'];

describe('pods deleted between an order’s placement and its end lose nothing', () => {
  test.each(ours)('of %s', async (name) => {
    await killWhileOrdersAreOnTheirWay(shop, await podVictim(namespace, nameLabel(name)), random);
  });

  test.each(daprs)('of %s', async (name) => {
    await killWhileOrdersAreOnTheirWay(shop, await podVictim('dapr-system', `app=${name}`), random);
  });

  test.each(simulators)('of $name, between money that is held and goods that leave', async ({ name }) => {
    const skus = [
      await productWithStock(shop.gatewayUrl, 20),
      await productWithStock(shop.gatewayUrl, 20),
    ] as const;
    const client = createClient(shop.gatewayUrl, skus, new AbortController().signal);
    const run = await place(client, { token: 'tok_ok' });
    await follow(client, run, ({ progress }) => progress?.step === 'hand_over');
    const victim = await podVictim(namespace, nameLabel(name));
    await victim.kill();
    await until(`${name} to be back`, () => victim.isBack(), 90_000);
    // Packed and handed over by this. A provider that has forgotten what it holds refuses it, and leaves the order to a person.
    const order = await follow(
      client,
      run,
      ({ status, progress }) => status === 'shipped' || progress?.step === 'person',
    );
    expect(order).toMatchObject({ status: 'shipped', progress: { step: 'deliver' } });
    const { body } = await call(shop.gatewayUrl, 'GET', `/v1/payments?order_id=${run.id}`);
    expect(body.items).toMatchObject([{ status: 'captured' }]);
  });

  test('and the figures of every product add up', async () => {
    expect(await stockOff(shop)).toEqual([]);
  });
});
