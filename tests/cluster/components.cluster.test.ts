import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { byName, render } from '../../k8s/manifests.ts';
import { portForward } from '../../k8s/port-forward.ts';
import { type BrokerWanted, findConsumer, readBrokerWanted, withBroker } from '../../platform/streams.ts';
import { openShop } from '../e2e/open-shop.ts';
import {
  call,
  orderEnds,
  placeUntilAccepted,
  productWithStock,
  sleep,
  type Target,
  until,
} from '../e2e/shop.ts';
import { type ClusterAccess, topology } from './cluster-shop.ts';
import { apply, type KubeObject, kubectl, list, secretValue } from './kubectl.ts';
import { expectNothingLost, startLoad } from './load.ts';
import { overlayWith } from './overlay.ts';
import { manifestsAfter } from './release.ts';
import { skip } from './skip.ts';
import { livePods, restart, rolledOut } from './workloads.ts';

const cluster = inject('cluster') as ClusterAccess;
const { namespace, images } = cluster;

/** Whose sidecars read a component, and who keeps the broker to what it says. */
const SERVICES = topology.services
  .map(({ name }) => name)
  .filter((name) => topology.topics.some((t) => t.components.some(({ scopes }) => scopes.includes(name))));
const RELEASED = [...SERVICES, 'platform'];
const ROLL_OUTS = 600_000;
/** By delivery an order takes a second; what the broker does not bring is fetched after twenty. */
const BY_DELIVERY_MS = 10_000;

let shop: Target;

const now = () => overlayWith('local', { images });
/** This checkout, and then one of the README's "Change a component". */
function changed(): string {
  const root = manifestsAfter('changed', (template) => template.replace('value: 20s', 'value: 23s'));
  return overlayWith('local', { images, over: join(root, 'k8s/overlays/local') }, 'local-changed');
}

beforeAll(async () => {
  shop = await openShop();
});
beforeEach((context) => {
  if (topology.broker !== 'jetstream')
    skip(context, `the sidecars keep no settings at the broker ${topology.broker}`);
});
afterAll(async () => {
  await shop?.stop();
});

async function release(overlay: string): Promise<void> {
  await kubectl(['apply', '-k', overlay]);
  for (const name of RELEASED) await rolledOut(namespace, `deployment/${name}`);
}

/** All at once: nobody asks for anything meanwhile, and one after the other takes five times as long. */
async function restartAll(): Promise<void> {
  await Promise.all(SERVICES.map((name) => restart(namespace, `deployment/${name}`)));
}

/** The Components alone, as somebody applies them who looks after nothing else. */
async function applyComponents(overlay: string): Promise<void> {
  const components = render(overlay).filter(({ kind }) => kind === 'Component');
  expect(components.length).toBeGreaterThan(0);
  await apply(components);
}

/** What every durable consumer waits for an answer, in seconds. */
async function ackWaits(): Promise<number[]> {
  const forward = await portForward(namespace, 'service/nats', [4222]);
  try {
    const url = new URL(await secretValue('broker', 'url', namespace));
    url.host = `127.0.0.1:${forward.ports[0]}`;
    const { consumers } = readBrokerWanted<BrokerWanted>(
      'components/brokers/jetstream-streams.generated.yaml',
    );
    return await withBroker(url.href, (jsm) =>
      Promise.all(
        consumers.map(async (wanted) => ((await findConsumer(jsm, wanted))?.config.ack_wait ?? 0) / 1e9),
      ),
    );
  } finally {
    forward.stop();
  }
}

/** Every pod, and how often a container of it was started anew. */
async function starts(): Promise<Record<string, number>> {
  const pods = await livePods(namespace, 'app.kubernetes.io/component in (service, platform)');
  const countOf = ({ status }: KubeObject) =>
    [...(status.initContainerStatuses ?? []), ...status.containerStatuses].reduce(
      (sum: number, { restartCount }) => sum + restartCount,
      0,
    );
  return Object.fromEntries(pods.map((pod) => [pod.metadata.name, countOf(pod)]));
}

/** Ports lead to a pod, and those of before may be gone. */
async function reopen(): Promise<void> {
  await shop.stop();
  shop = await openShop();
}

/** All as this checkout has it, whatever a test left half done: sidecars that read the changed component start anew too. */
async function putBack(): Promise<void> {
  await kubectl(['apply', '-k', now()]);
  await restartAll();
  await reopen();
}

async function ordersComeByDelivery(): Promise<void> {
  const sku = await productWithStock(shop.gatewayUrl, 5);
  for (let i = 0; i < 3; i += 1) {
    const id = await placeUntilAccepted(shop.gatewayUrl, [{ sku, quantity: 1 }]);
    expect(await orderEnds(shop.gatewayUrl, id, BY_DELIVERY_MS)).toBe('confirmed');
  }
}

const health = async (service: string) =>
  (await call(`http://127.0.0.1:${shop.endpoints(service).appPort}`, 'GET', '/healthz')).body;

describe('a component that changes', () => {
  test(
    'is released, and taken back, under load with nothing lost; only those that use it get new pods',
    async ({ onTestFailed }) => {
      onTestFailed(putBack, ROLL_OUTS);
      const others = async () =>
        Object.keys(await starts()).filter((pod) => !RELEASED.some((name) => pod.startsWith(`${name}-`)));
      const before = await others();
      const startsBefore = await starts();
      expect(new Set(await ackWaits())).toEqual(new Set([20]));
      const load = await startLoad(shop, cluster);
      await sleep(2_000);
      await release(changed());
      expect(new Set(await ackWaits())).toEqual(new Set([23]));
      await sleep(5_000);
      await release(now());
      expect(new Set(await ackWaits())).toEqual(new Set([20]));
      await sleep(2_000);
      const report = await load.stop();
      console.log(`ackWait there and back: answers ${JSON.stringify(report.byStatus)}`);
      await reopen();
      await expectNothingLost(shop, load, report);
      await ordersComeByDelivery();
      expect(await others()).toEqual(before);
      // A sidecar that met a component which it cannot use would be told to start anew.
      const more = Object.entries(await starts()).filter(([pod, count]) => count > (startsBefore[pod] ?? 0));
      expect(more).toEqual([]);
    },
    ROLL_OUTS,
  );

  test(
    'and is applied alone reaches no pod that runs; one that starts then says that it gets no messages, which are late and not lost; the whole release mends it',
    async ({ onTestFailed }) => {
      onTestFailed(putBack, ROLL_OUTS);
      const before = await starts();
      const load = await startLoad(shop, cluster);
      await applyComponents(changed());
      await sleep(20_000);
      const report = await load.stop();
      await expectNothingLost(shop, load, report);
      expect(await starts()).toEqual(before);

      await restart(namespace, 'deployment/inventory');
      await reopen();
      const sku = await productWithStock(shop.gatewayUrl, 100);
      const ids: string[] = [];
      const degraded = await until(
        'inventory to say that nothing is delivered',
        async () => {
          ids.push(await placeUntilAccepted(shop.gatewayUrl, [{ sku, quantity: 1 }]));
          const { subscriptions } = (await health('inventory')).components;
          return subscriptions?.status === 'degraded' && subscriptions.reason;
        },
        120_000,
        2_000,
      );
      expect(degraded).toMatch(/commands\.inventory: nothing is delivered/);
      expect((await health('inventory')).components.broker).toEqual({ status: 'ok' });
      for (const id of ids) expect(await orderEnds(shop.gatewayUrl, id, 90_000)).toBe('confirmed');

      await release(changed());
      await reopen();
      await ordersComeByDelivery();
      expect((await health('inventory')).components.subscriptions).toEqual({ status: 'ok' });
      await release(now());
      await reopen();
      await ordersComeByDelivery();
    },
    ROLL_OUTS,
  );

  test(
    'control: where sidecars reload what changes, the same costs requests',
    async () => {
      const features = [{ name: 'HotReload', enabled: true }];
      const ours = byName(render(now()));
      const configurations = (await list('configurations.dapr.io', namespace)).filter(
        (object) => `${object.kind}/${object.metadata.name}` in ours,
      );
      expect(configurations).toHaveLength(topology.services.length);
      try {
        for (const { metadata } of configurations) {
          const patch = ['--type=merge', '--patch', JSON.stringify({ spec: { features } })];
          await kubectl(['patch', '-n', namespace, 'configurations.dapr.io', metadata.name, ...patch]);
        }
        await restartAll();
        await reopen();
        const load = await startLoad(shop, cluster);
        await applyComponents(changed());
        await sleep(25_000);
        const { faults, byStatus } = await load.stop();
        console.log(`ackWait reloaded: answers ${JSON.stringify(byStatus)}`);
        expect(faults.length).toBeGreaterThan(0);
      } finally {
        await putBack();
      }
    },
    ROLL_OUTS,
  );
});
