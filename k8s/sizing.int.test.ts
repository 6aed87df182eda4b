import { readFileSync } from 'node:fs';
import { catalog } from '@sidecart/contracts/catalog';
import { POOL_CONNECTIONS } from '@sidecart/kit/db';
import { beforeEach, describe, expect, test } from 'vitest';
import { loadTopology } from '../generator/topology.ts';
import type { Manifest } from './manifests.ts';
import { needsKubectl, renderOverlay } from './testing.ts';

const topology = loadTopology('topology.yaml');
const docs = readFileSync('docs/kubernetes.md', 'utf8');

beforeEach(needsKubectl);

test('the local overlay asks for less than 2 cores, sidecars included, and for what the docs say', () => {
  const cores = cpuRequests(renderOverlay({ overlay: 'local' }));
  expect(cores).toBeGreaterThan(0.2);
  expect(cores).toBeLessThan(2);
  const [, said] = /local overlay asks for ([\d.]+) cores/.exec(docs) ?? [];
  expect(said).toBe(cores.toFixed(2));
});

/** Beside its pool a service has one session that relays its messages, and one more if it sends some to itself. */
function connectionsOf(name: string): number {
  const toItself = Object.values(catalog).some((message) => 'service' in message && message.service === name);
  return POOL_CONNECTIONS + 1 + (toItself ? 1 : 0);
}

const users = topology.services.filter(({ database }) => database).map(({ name }) => name);
const together = users.reduce((sum, name) => sum + connectionsOf(name), 0);

describe('connections to the database', () => {
  test('the local PostgreSQL has enough of them for each service at its autoscaler’s minimum, in a roll-out', () => {
    const manifests = renderOverlay({ overlay: 'local', components: ['autoscaling'] });
    const most = users.map((name) => {
      const { minReplicas } = find(manifests, 'HorizontalPodAutoscaler', name).spec;
      const { maxSurge } = find(manifests, 'Deployment', name).spec.strategy.rollingUpdate;
      // Each pod that starts migrates first.
      return (minReplicas + maxSurge) * connectionsOf(name) + maxSurge;
    });
    // Of platform, which makes the databases, and the three that the server keeps for its superusers.
    const needed = most.reduce((sum, one) => sum + one, 1 + 3);
    expect(needed).toBeGreaterThan(100);
    const { args } = find(manifests, 'StatefulSet', 'postgres').spec.template.spec.containers[0];
    const [, given] = /max_connections=(\d+)/.exec(args.join(' ')) ?? [];
    expect(Number(given)).toBeGreaterThanOrEqual(needed);
  });

  test('are as many as the docs say', () => {
    const [, most, ofOrders, wanted] =
      /has at most (\d+) connections, orders (\d+) .*: nine of each want (\d+) of `max_connections`/.exec(
        docs,
      ) ?? [];
    for (const name of users)
      expect(connectionsOf(name), name).toBe(Number(name === 'orders' ? ofOrders : most));
    const scalers = renderOverlay({ overlay: 'production' }).filter(
      ({ kind }) => kind === 'HorizontalPodAutoscaler',
    );
    expect(new Set(scalers.map(({ spec }) => spec.maxReplicas))).toEqual(new Set([9]));
    expect(Number(wanted)).toBe(9 * together);
  });
});

function find(manifests: Manifest[], kind: string, name: string): Manifest {
  const found = manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  if (!found) throw new Error(`there is no ${kind} ${name}`);
  return found;
}

/** In cores, as the scheduler counts: the most that a pod wants at once. */
function cpuRequests(manifests: Manifest[]): number {
  return manifests
    .filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet')
    .map(({ spec }) => {
      const { metadata, spec: pod } = spec.template;
      const sum = (containers: Container[] = []) => containers.map(cpu).reduce((all, one) => all + one, 0);
      const sidecar = cores(metadata.annotations?.['dapr.io/sidecar-cpu-request'] ?? '0');
      const steps = Math.max(0, ...(pod.initContainers ?? []).map(cpu));
      return (spec.replicas ?? 1) * Math.max(sum(pod.containers) + sidecar, steps);
    })
    .reduce((all, one) => all + one, 0);
}

interface Container {
  resources: { requests: { cpu: string } };
}

const cpu = ({ resources }: Container) => cores(resources.requests.cpu);
const cores = (text: string) => (text.endsWith('m') ? Number(text.slice(0, -1)) / 1000 : Number(text));
