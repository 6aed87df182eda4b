import { expect, test } from 'vitest';
import { lostApps } from './jetstream-broker.ts';

const durables = [
  { app: 'orders', topic: 'inventory', stream: 'inventory', name: 'orders-inventory' },
  { app: 'inventory', topic: 'orders', stream: 'orders', name: 'inventory-orders' },
  { app: 'inventory', topic: 'products', stream: 'products', name: 'inventory-products' },
];
const there = (...names: string[]) => ({ consumers: new Map(names.map((name) => [name, { bound: true }])) });

test('a consumer that never was is not lost: its sidecar is only starting', () => {
  expect(lostApps(there(), durables, new Set())).toEqual([]);
});

test('an app that lost consumers is named once, and again only after they were back', () => {
  const seen = new Set<string>();
  const all = there(...durables.map(({ name }) => name));
  expect(lostApps(all, durables, seen)).toEqual([]);
  expect(lostApps(there('orders-inventory'), durables, seen)).toEqual(['inventory']);
  expect(lostApps(there('orders-inventory'), durables, seen)).toEqual([]);
  expect(lostApps(all, durables, seen)).toEqual([]);
  expect(lostApps(there(), durables, seen)).toEqual(['orders', 'inventory']);
});
