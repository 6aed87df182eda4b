import { expect, test } from 'vitest';
import { chooseContext } from './context.ts';

const all = ['kind-shop', 'k3d-a', 'minikube', 'docker-desktop', 'orbstack', 'prod', 'kindergarten'];

test.each(['kind-shop', 'k3d-a', 'minikube', 'docker-desktop', 'orbstack'])('%s is used', (current) => {
  expect(chooseContext({ current, all })).toEqual({ use: current });
});

test.each(['prod', 'kindergarten', 'my-minikube'])('%s is refused, and how to mean it is said', (current) => {
  expect(chooseContext({ current, all })).toEqual({
    refuse: expect.stringContaining(`SIDECART_CONTEXT=${current}`),
  });
});

test('a context that is named is used, whatever is current', () => {
  expect(chooseContext({ told: 'prod', current: 'kind-shop', all })).toEqual({ use: 'prod' });
});

test('a name that does not exist is refused with those that do', () => {
  expect(chooseContext({ told: 'prd', all })).toEqual({
    refuse: expect.stringContaining('kind-shop, k3d-a'),
  });
});

test('without a context there is nothing to run on', () => {
  expect(chooseContext({ all: [] })).toEqual({ skip: expect.stringContaining('no current context') });
});
