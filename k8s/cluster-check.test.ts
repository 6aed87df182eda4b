import { describe, expect, test } from 'vitest';
import { type ClusterFacts, judgeCluster } from './cluster-check.ts';

const READY: ClusterFacts = {
  context: { name: 'kind-kind', server: 'https://127.0.0.1:6443' },
  version: 'v1.36.3',
  definitions: ['components', 'configurations', 'httpendpoints', 'resiliencies', 'subscriptions'].map(
    (n) => `${n}.dapr.io`,
  ),
  controlPlane: { 'dapr-operator': true, 'dapr-sentry': true, 'dapr-sidecar-injector': true },
  defaultStorageClass: true,
  registry: 'localhost:5000',
  kindProgram: false,
};

const missing = (facts: Partial<ClusterFacts>) =>
  judgeCluster({ ...READY, ...facts }).filter(({ cure }) => cure !== undefined);

const on = (name: string) => ({ context: { name, server: 'https://127.0.0.1:6443' } });

describe('a cluster', () => {
  test('that has everything lacks nothing', () => {
    expect(missing({})).toEqual([]);
  });

  test.each(['v1.29.4', 'v1.9.0', 'unknown'])('of version %s is too old', (version) => {
    expect(missing({ version })).toMatchObject([{ text: expect.stringContaining('older than 1.30') }]);
  });

  test('without Dapr is told which parts it lacks', () => {
    const [finding] = missing({ definitions: [], controlPlane: {} });
    expect(finding?.text).toContain('no components.dapr.io');
    expect(finding?.text).toContain('no dapr-sidecar-injector');
    expect(finding?.cure).toContain('k8s/dapr/values.yaml');
  });

  test('whose injector is away is told so', () => {
    const controlPlane = { ...READY.controlPlane, 'dapr-sidecar-injector': false };
    expect(missing({ controlPlane })).toMatchObject([
      { text: 'Dapr is not ready: dapr-sidecar-injector not available' },
    ]);
  });

  test('without a default storage class is told how to get one', () => {
    expect(missing({ defaultStorageClass: false })).toMatchObject([
      { text: expect.stringContaining('no default storage class') },
    ]);
  });
});

describe('without a registry', () => {
  const registry = undefined;

  test.each(['minikube', 'docker-desktop'])('%s needs none', (name) => {
    expect(missing({ registry, ...on(name) })).toEqual([]);
  });

  test('kind can do with its own program', () => {
    expect(missing({ registry, kindProgram: true })).toEqual([]);
    expect(missing({ registry, kindProgram: false })).toHaveLength(1);
  });

  test.each(['k3d-k3s-default', 'minikube-of-somebody', 'rancher-desktop'])('%s lacks one', (name) => {
    expect(missing({ registry, kindProgram: true, ...on(name) })).toMatchObject([
      { cure: expect.stringContaining('ctlptl') },
    ]);
  });
});
