import { expect, test } from 'vitest';
import { keySteps, secretsForSimulators } from './new-keys.ts';

const base = {
  externals: [{ name: 'provider', users: ['payments'], secret: ['api_key'], simulatorPort: 8190 }],
  made: ['payments-provider', 'orders-db'],
  kubectl: 'kubectl --context=kind-some --namespace=shop',
  isOutside: false,
};

test('a key that is made anew is read by both who know it: the simulator and its user', () => {
  const steps = keySteps({ ...base, deployments: { payments: [], provider: [], orders: [] } });
  expect(steps).toEqual([
    expect.stringContaining('new values of payments-provider'),
    `  ${base.kubectl} rollout restart deployment/provider deployment/payments`,
  ]);
});

test('where no simulator runs, made-up values are said to be such, and who has to read the provider’s own', () => {
  const steps = keySteps({ ...base, deployments: { payments: [] } });
  expect(steps).toEqual([
    expect.stringMatching(/^payments-provider has made-up values, .* Put its own there .*, then:$/),
    `  ${base.kubectl} rollout restart deployment/payments`,
  ]);
});

test('so are they before the first start, when database or broker are those of somebody else', () => {
  const steps = keySteps({ ...base, deployments: {}, isOutside: true });
  expect(steps).toEqual([expect.stringMatching(/^payments-provider has made-up values, .*\)\.$/)]);
});

test('made-up values are of no use to an API that nothing stands in for, before the first start too', () => {
  const externals = [{ name: 'provider', users: ['payments'], secret: ['api_key'] }];
  expect(secretsForSimulators(externals)).toEqual([]);
  expect(keySteps({ ...base, externals, deployments: {} })).toEqual([
    expect.stringMatching(/^payments-provider has made-up values, which provider does not know\. /),
  ]);
});

test.each([
  ['before the first start with a simulator', {}],
  ['when the Secret was there', { made: ['orders-db'], deployments: { payments: [], provider: [] } }],
])('there is nothing to do %s', (_, more) => {
  expect(keySteps({ ...base, deployments: {}, ...more })).toEqual([]);
});
