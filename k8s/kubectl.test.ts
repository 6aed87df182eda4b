import { expect, test } from 'vitest';
import { looksLocal } from './kubectl.ts';

test.each([
  ['kind-dev', 'https://172.18.0.2:6443', true],
  ['k3d-shop', 'https://0.0.0.0:40123', true],
  ['minikube', 'https://192.168.49.2:8443', true],
  ['docker-desktop', 'https://kubernetes.docker.internal:6443', true],
  ['mine', 'https://127.0.0.1:6443', true],
  ['production', 'https://api.example.com', false],
  ['not-kind-dev', 'https://10.0.0.1', false],
  ['gke_project_europe-west1_minikube', 'https://34.1.2.3', false],
  ['broken', '', false],
])('%s at %s: looks local is %s', (name, server, local) => {
  expect(looksLocal({ name, server })).toBe(local);
});
