import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { openShop } from '../e2e/open-shop.ts';
import { query, sleep, type Target, until } from '../e2e/shop.ts';
import { expansion, folderWith, tablesOf } from '../next-schema.ts';
import type { ClusterAccess } from './cluster-shop.ts';
import { apply, kubectl } from './kubectl.ts';
import { expectNothingLost, startLoad } from './load.ts';
import { isReady, livePods, nameLabel, rolledOut } from './workloads.ts';

const cluster = inject('cluster') as ClusterAccess;
const { namespace } = cluster;
const FOLDER = 'services/orders/migrations';
const DEPLOYMENT = 'deployment/orders';

let shop: Target;

beforeAll(async () => {
  shop = await openShop();
});
afterAll(async () => {
  await shop?.stop();
});

/** Rolls out orders with one migration more than this version has, and does not wait. */
async function release(name: string, statements: string[]): Promise<void> {
  const folder = folderWith(FOLDER, statements);
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    statSync(join(folder, file)).isFile(),
  );
  const key = (file: string) => file.replaceAll('/', '.');
  const data = Object.fromEntries(files.map((file) => [key(file), readFileSync(join(folder, file), 'utf8')]));
  rmSync(folder, { recursive: true });
  await apply(
    [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data }],
    '--server-side',
  );
  const migrate = {
    name: 'migrate',
    env: [{ name: 'MIGRATIONS_DIR', value: '/next' }],
    volumeMounts: [{ name: 'next', mountPath: '/next', readOnly: true }],
  };
  const items = files.map((file) => ({ key: key(file), path: file }));
  const volumes = [{ name: 'next', configMap: { name, items } }];
  const patch = { spec: { template: { spec: { initContainers: [migrate], volumes } } } };
  await kubectl(['patch', '-n', namespace, DEPLOYMENT, '--patch', JSON.stringify(patch)]);
}

async function rollBack(): Promise<void> {
  await kubectl(['rollout', 'undo', '-n', namespace, DEPLOYMENT]);
  await rolledOut(namespace, DEPLOYMENT);
}

const readyPods = async () =>
  (await livePods(namespace, nameLabel('orders'))).filter(isReady).map(({ metadata }) => metadata.name);

test('a release whose migration fails leaves the version before it serving, and the schema as it was', async () => {
  const before = await readyPods();
  const load = await startLoad(shop, cluster);
  try {
    const broken = ['CREATE TABLE "half" ("id" text);', 'ALTER TABLE "nowhere" ADD COLUMN "x" text;'];
    await release('broken-migration', broken);
    await until(
      'the migration to fail twice',
      async () =>
        (await livePods(namespace, nameLabel('orders'))).some(({ status }) =>
          (status.initContainerStatuses ?? []).some(
            (init: { name: string; restartCount: number }) =>
              init.name === 'migrate' && init.restartCount >= 1,
          ),
        ),
      90_000,
      500,
    );
    expect(await readyPods()).toEqual(before);
  } finally {
    await rollBack();
  }
  expect(await readyPods()).toEqual(before);
  await expectNothingLost(shop, load, await load.stop());
  expect(await query(shop, 'orders', "SELECT 1 FROM pg_tables WHERE tablename = 'half'")).toEqual([]);
});

test('a release that takes the schema further rolls out, and back again, under load with nothing lost', async () => {
  const load = await startLoad(shop, cluster);
  try {
    await release('next-migration', expansion(tablesOf(FOLDER)));
    await rolledOut(namespace, DEPLOYMENT);
    expect(await query(shop, 'orders', 'SELECT next_note, next_count FROM events LIMIT 1')).toHaveLength(1);
    await sleep(2_000);
  } finally {
    await rollBack();
  }
  await sleep(2_000);
  await expectNothingLost(shop, load, await load.stop());
});
