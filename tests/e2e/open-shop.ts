import { inject } from 'vitest';
import type { ShopOptions } from '../../local/shop.ts';
import { clusterShop } from '../cluster/cluster-shop.ts';
import { type Target, testShop } from './shop.ts';

/**
 * The shop that a test file runs against: the one on the cluster under `npm run test:cluster`, else one of its own, for which
 * alone the options are.
 */
export function openShop(options: Partial<ShopOptions> = {}): Promise<Target> {
  const cluster = inject('cluster');
  return cluster ? clusterShop(cluster) : testShop(options);
}
