import { expect, test } from 'vitest';
import { createHealth } from './health.ts';
import { createMetrics } from './metrics.ts';

test('a degraded neighbour shows in the details and leaves the process ready', () => {
  const health = createHealth('orders');
  expect(health.ready()).toBe(false);
  health.setReady(true);
  health.report('broker', { status: 'degraded', reason: 'connection closed' });
  expect(health.ready()).toBe(true);
  expect(health.details()).toMatchObject({
    service: 'orders',
    status: 'degraded',
    components: { broker: { status: 'degraded', reason: 'connection closed' } },
  });
  health.report('broker', { status: 'ok' });
  expect(health.details().status).toBe('ok');
});

test('draining is for good', () => {
  const health = createHealth('orders');
  health.setReady(true);
  health.setDraining();
  health.setReady(true);
  expect(health.ready()).toBe(false);
  expect(health.live()).toBe(true);
});

test('metrics carry the service, keep their names apart from others, and are made once', async () => {
  const metrics = createMetrics('orders');
  metrics.counter('sidecart_things_total', 'Things', ['kind']).inc({ kind: 'a' });
  metrics.counter('sidecart_things_total', 'Things', ['kind']).inc({ kind: 'a' });
  expect(await metrics.registry.metrics()).toContain('sidecart_things_total{kind="a",service="orders"} 2');
  expect(() => metrics.gauge('things', 'Things')).toThrow(/sidecart_/);
  expect(() => metrics.gauge('sidecart_Things', 'Things')).toThrow();
});
