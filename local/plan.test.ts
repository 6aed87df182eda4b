import { describe, expect, test } from 'vitest';
import { parseTopology } from '../generator/topology.ts';
import { openReads, planInstances, portRequests, readReplicas, subscriptionCount } from './plan.ts';

const topology = parseTopology(`
namespace: shop
broker: jetstream
services:
  front: { port: 8080, database: false, replicas: 1, edge: true }
  sales:
    port: 8101
    database: true
    replicas: 1
    public: { timeout: 1s, operations: [GET /v1/sales, POST /v1/sales, 'GET /v1/sales/{id}'] }
    topic: { lanes: 2 }
    sends: [store]
  store: { port: 8102, database: true, replicas: 1, commands: { lanes: 1 }, consumes: [sales] }
external:
  bank: { used_by: [sales], timeout: 1s, retries: 0, simulator: { port: 8190 } }
  post: { used_by: [sales], timeout: 1s, retries: 0, url: https://post.example.com }
`);

describe('instances', () => {
  test('carry the name of their service, and a number only where there are several', () => {
    const names = planInstances(topology, { sales: 3 }).map(({ name, service }) => [name, service]);
    expect(names).toEqual([
      ['front', 'front'],
      ['sales-1', 'sales'],
      ['sales-2', 'sales'],
      ['sales-3', 'sales'],
      ['store', 'store'],
    ]);
  });
});

test('replicas are asked for by service; what is none, or no number of them, is told', () => {
  const services = ['front', 'sales'];
  expect(readReplicas(['sales=3', 'front=2'], services)).toEqual({ counts: { sales: 3, front: 2 } });
  expect(readReplicas(['sales=3', 'sale=2'], services)).toEqual({
    fault: '--replicas sale=2: no service is called sale; there are front, sales',
  });
  for (const text of ['sales=0', 'sales', 'sales=x', '=2', 'sales=100'])
    expect(readReplicas([text], services)).toMatchObject({
      fault: expect.stringContaining(`${text}: write`),
    });
});

describe('ports', () => {
  const requests = portRequests(
    planInstances(topology, { sales: 3 }),
    { name: 'nats', preferred: 14222 },
    topology.externals,
  );

  test('are one each, with a name each, below the range of outgoing connections', () => {
    expect(new Set(requests.map(({ preferred }) => preferred)).size).toBe(requests.length);
    expect(new Set(requests.map(({ name }) => name)).size).toBe(requests.length);
    expect(Math.max(...requests.map(({ preferred }) => preferred))).toBeLessThan(32_768);
  });

  test('are those of the topology for the apps', () => {
    expect(requests).toContainEqual({ name: 'front', preferred: 8080 });
    expect(requests).toContainEqual({ name: 'front-dapr-http', preferred: 18080 });
  });

  test('are there for what stands in for an API outside, and for no other', () => {
    expect(requests).toContainEqual({ name: 'bank', preferred: 8190 });
    expect(requests.map(({ name }) => name)).not.toContain('post');
  });
});

test('only reads without parameters are tried before the shop counts as ready', () => {
  expect(openReads(topology)).toEqual(['/v1/sales']);
});

test('there is a subscription for each lane of a topic, in each process that reads it', () => {
  expect(subscriptionCount(topology, planInstances(topology))).toBe(3);
  expect(subscriptionCount(topology, planInstances(topology, { store: 2, sales: 3 }))).toBe(6);
});
