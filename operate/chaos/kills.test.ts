import { seededRandom } from '@sidecart/kit/seeded-random';
import { expect, test } from 'vitest';
import type { ProcessInfo } from '../../local/shop.ts';
import { planKills, victimsOf } from './kills.ts';

const VICTIMS = ['nats', 'inventory-dapr', 'payments', 'orders'];
const plan = (seed: number) => planKills(VICTIMS, 20_000, seededRandom(seed));

test('the seed chooses the moments and the order of the victims, and repeats them', () => {
  expect(plan(1)).toEqual(plan(1));
  const plans = Array.from({ length: 50 }, (_, seed) => plan(seed));
  const orders = new Set(plans.map((kills) => kills.map(({ victim }) => victim).join()));
  expect(orders.size).toBeGreaterThan(10);
  expect(new Set(plans.map(([first]) => first?.atMs)).size).toBeGreaterThan(40);
});

test('each is killed once, in the time that is given, and seconds apart', () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const kills = plan(seed);
    expect(kills.map(({ victim }) => victim).sort()).toEqual([...VICTIMS].sort());
    const moments = [0, ...kills.map(({ atMs }) => atMs)];
    expect(moments.at(-1)).toBeLessThan(19_000);
    for (const [n, atMs] of moments.slice(1).entries())
      expect(atMs - (moments[n] as number)).toBeGreaterThanOrEqual(n === 0 ? 1000 : 2499);
  }
});

const shopOf = (broker: string, ...names: string[]) => ({
  broker,
  processes: names.map((name) => ({ name }) as ProcessInfo),
});

test('the victims are the broker that runs, a sidecar and two services; of several replicas the first', () => {
  const services = ['gateway', 'orders', 'orders-dapr', 'inventory', 'inventory-dapr', 'payments'];
  expect(victimsOf(shopOf('nats', 'nats', ...services))).toEqual(VICTIMS);
  const replicas = ['orders-1-dapr', 'orders-1', 'orders-2', 'inventory-1', 'inventory-1-dapr', 'payments'];
  expect(victimsOf(shopOf('redis', 'redis', ...replicas))).toEqual([
    'redis',
    'inventory-1-dapr',
    'payments',
    'orders-1',
  ]);
});

test('control: a shop without one of them is refused with the cure', () => {
  expect(() => victimsOf(shopOf('nats', 'nats', 'orders', 'payments'))).toThrow(
    expect.objectContaining({ cure: 'start it with `npm start`' }),
  );
});
