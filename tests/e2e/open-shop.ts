import { inject } from 'vitest';
import { clusterShop } from '../cluster/cluster-shop.ts';
import { type Target, testShop } from './shop.ts';

/** The shop that a test file runs against: the one on the cluster under `npm run test:cluster`, else one of its own. */
export function openShop(): Promise<Target> {
  const cluster = inject('cluster');
  return cluster ? clusterShop(cluster) : testShop();
}
