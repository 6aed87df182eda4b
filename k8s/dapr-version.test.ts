import { readFileSync } from 'node:fs';
import { satisfies } from 'semver';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { PINS } from '../local/programs/pins.ts';

const { tag } = parse(readFileSync('k8s/dapr/values.yaml', 'utf8')).global as { tag: string };

test('the chart that the documentation installs is of the version that the values say', () => {
  const install = /helm upgrade --install dapr [^`]*?--version (\S+)/.exec(
    readFileSync('docs/kubernetes.md', 'utf8'),
  );
  expect(install?.[1]).toBe(tag);
});

test('and one that local mode would take', () => {
  expect(satisfies(tag, PINS.daprd.accepts)).toBe(true);
});
