import { expect, test } from 'vitest';
import { looksLocal } from './kubectl.ts';

test.each([
  ['kind-dev', true],
  ['k3d-shop', true],
  ['minikube', true],
  ['docker-desktop', true],
  ['rancher-desktop', true],
  ['production', false],
  ['not-kind-dev', false],
  ['gke_project_europe-west1_minikube', false],
  ['localhost', false],
])('%s: looks local is %s', (name, local) => {
  expect(looksLocal(name)).toBe(local);
});
