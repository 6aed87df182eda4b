import { expect, test } from 'vitest';
import { passwordSteps, readInitContainers } from './new-passwords.ts';

const kubectl = 'kubectl --context=kind-some --namespace=shop';
const deployments = { platform: ['databases'], orders: ['migrate'], products: ['migrate'], gateway: [] };

test('a login that is made anew is told to the database by platform, and read by the service’s new pods', () => {
  expect(passwordSteps({ made: ['orders-db-owner', 'orders-db'], deployments, kubectl })).toEqual([
    expect.stringContaining('new passwords of orders'),
    `  ${kubectl} rollout restart deployment/platform`,
    `  ${kubectl} rollout status deployment/platform`,
    `  ${kubectl} rollout restart deployment/orders`,
  ]);
});

test('a database of somebody else’s is told by its superuser', () => {
  const steps = passwordSteps({
    made: ['orders-db'],
    deployments: { ...deployments, platform: [] },
    kubectl,
  });
  expect(steps[1]).toContain('npm run --silent k8s -- databases');
  expect(steps).toHaveLength(3);
});

test('there is nothing to do for other Secrets, nor before the first start', () => {
  expect(passwordSteps({ made: ['orders-api-token', 'broker'], deployments, kubectl })).toEqual([]);
  expect(passwordSteps({ made: ['orders-db', 'broker'], deployments: {}, kubectl })).toEqual([]);
});

test('kubectl’s answer is read by the names in it', () => {
  const deployment = (name: string, spec: object) => ({ metadata: { name }, spec: { template: { spec } } });
  const items = [
    deployment('platform', { initContainers: [{ name: 'databases' }] }),
    deployment('gateway', {}),
  ];
  expect(readInitContainers(JSON.stringify({ items }))).toEqual({ platform: ['databases'], gateway: [] });
});
