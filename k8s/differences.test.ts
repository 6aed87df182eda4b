import { expect, test } from 'vitest';
import { differences } from './differences.ts';

test('equal values differ nowhere, whatever the order of their keys', () => {
  expect(differences({ a: [1, { b: 2 }], c: 3 }, { c: 3, a: [1, { b: 2 }] })).toEqual([]);
});

test('each differing place is named once, as deep as it goes', () => {
  expect(differences({ a: { b: 1, c: 2 }, d: [1, 2] }, { a: { b: 1, c: 3 }, d: [1], e: {} })).toEqual([
    { path: 'a.c', left: 2, right: 3 },
    { path: 'd[1]', left: 2, right: undefined },
    { path: 'e', left: undefined, right: {} },
  ]);
});

test('named items are compared by name, so that another order is no difference', () => {
  const [app, sidecar] = [
    { name: 'app', image: 'x' },
    { name: 'daprd', image: 'y' },
  ];
  expect(differences([app, sidecar], [sidecar, { ...app, image: 'z' }])).toEqual([
    { path: '[app].image', left: 'x', right: 'z' },
  ]);
});
