import { afterEach, expect, test, vi } from 'vitest';
import { chooseCluster } from './choose-cluster.ts';

afterEach(() => vi.unstubAllEnvs());

test('without kubectl there is nothing to test on, unless a cluster was named: that is a mistake', async () => {
  vi.stubEnv('PATH', '/nowhere');
  expect(await chooseCluster({})).toEqual({ skip: 'kubectl is not on the PATH' });
  expect(await chooseCluster({ SIDECART_CONTEXT: 'kind-shop' })).toEqual({
    refuse: expect.stringContaining('SIDECART_CONTEXT=kind-shop'),
  });
});
