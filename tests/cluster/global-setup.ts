import { rmSync } from 'node:fs';
import type { TestProject } from 'vitest/node';
import { ShopError } from '../../local/shop-error.ts';
import type { ClusterAccess } from './cluster-shop.ts';
import { simulators, topology } from './cluster-shop.ts';
import { ensureDapr } from './dapr-installed.ts';
import { buildImages, installLocal } from './install.ts';
import { removeNamespace } from './namespace.ts';
import { WORK_FOLDER } from './overlay.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Set when the tests run against a cluster. */
    cluster?: ClusterAccess;
  }
}

/**
 * Brings the shop of this checkout up on the cluster that KUBECONFIG names (`npm run test:cluster` sets it), and takes it away
 * again. With SIDECART_KEEP=1 it stays, and the next run begins by removing it.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  try {
    return await bringUp(project);
  } catch (err) {
    if (!(err instanceof ShopError)) throw err;
    // Vitest prints the stack, which here leads to nothing that its reader could mend.
    const told = new Error(`${err.message}\nCure: ${err.cure}`);
    told.stack = told.message;
    throw told;
  }
}

async function bringUp(project: TestProject): Promise<() => Promise<void>> {
  if (!process.env.SIDECART_TEST_CLUSTER)
    throw new Error('These tests run by `npm run test:cluster`, which chooses the cluster with care.');
  const started = Date.now();
  const say = (text: string) =>
    console.log(`${String(Math.round((Date.now() - started) / 1000)).padStart(4)} s  ${text}`);
  const { namespace } = topology;
  say(
    `Dapr ${await ensureDapr(say)} is installed with k8s/dapr/values.yaml and an authority of the project's own`,
  );
  await removeNamespace(namespace);
  const images = await buildImages(
    [...[...topology.services, ...simulators].map(({ name }) => name), 'platform'],
    tagOfThisRun(),
    say,
  );
  const remove = async () => {
    if (process.env.SIDECART_KEEP === '1')
      return say(`the namespace ${namespace} stays, as SIDECART_KEEP=1 says`);
    say(`removing the namespace ${namespace}`);
    await removeNamespace(namespace);
    rmSync(WORK_FOLDER, { recursive: true, force: true });
  };
  try {
    await installLocal(namespace, images, say);
  } catch (err) {
    // What went wrong first is what its reader can mend.
    await remove().catch((failed) => say(String(failed)));
    throw err;
  }
  say('the shop is up');
  project.provide('cluster', { namespace, images });
  return remove;
}

/** Another one for each run: a node does not pull a tag that it has. */
const tagOfThisRun = () => `test-${Date.now().toString(36)}`;
