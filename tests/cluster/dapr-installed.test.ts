import { expect, test } from 'vitest';
import { authorityFault, installCommand, missingValues, releaseFault } from './dapr-installed.ts';

test('what the installation has beyond the values asked for is its own business', () => {
  expect(missingValues({ a: { b: true } }, { a: { b: true, c: 1 }, d: [] })).toEqual([]);
});

test('each value that is missing or other is named with its path', () => {
  const wanted = { a: { b: true, list: [1] }, mode: 'x' };
  expect(missingValues(wanted, { a: { b: false, list: [1, 2] } })).toEqual([
    'a.b: false instead of true',
    'a.list: [1,2] instead of [1]',
    'mode: undefined instead of "x"',
  ]);
});

test('the cure keeps the own authority, and names the chart by what helm cannot take for a folder', () => {
  expect(installCommand('1.2.3')).toContain(
    '--values k8s/dapr/values.yaml --values .run/dapr-ca/values.yaml',
  );
  expect(installCommand('1.2.3')).toContain(' https://dapr.github.io/helm-charts/dapr-1.2.3.tgz ');
});

test('a release that helm did not bring to its end is named, with what helm wants done first', () => {
  expect(releaseFault(undefined, 'helm upgrade')).toBeUndefined();
  expect(releaseFault('deployed', 'helm upgrade')).toBeUndefined();
  expect(releaseFault('failed', 'helm upgrade')).toMatchObject({
    message: expect.stringContaining("'failed'"),
    cure: 'helm upgrade',
  });
  expect(releaseFault('pending-install', 'helm upgrade', 'here')?.cure).toMatch(
    /helm uninstall dapr --namespace dapr-system --kube-context here\nhelm upgrade$/,
  );
  expect(releaseFault('pending-upgrade', 'helm upgrade')?.cure).toContain('helm rollback dapr');
});

test('the sidecars trust the root that Dapr was installed with, which is of our own making', () => {
  expect(authorityFault({ given: 'A\n', trusted: 'A' })).toBeUndefined();
  expect(authorityFault({ given: 'A', trusted: 'A', ours: 'A\n' })).toBeUndefined();
  expect(authorityFault({ given: '', trusted: 'made by the chart' })).toMatch(
    /without an authority of our own/,
  );
  expect(authorityFault({ given: 'A', trusted: 'B' })).toMatch(/trust another root/);
  expect(authorityFault({ given: 'A', trusted: 'A', ours: 'B' })).toMatch(
    /another root than .run.dapr-ca.root.crt/,
  );
});
