import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import * as fixture from './fixture.ts';
import { lintProject } from './lint.ts';

const { daprFiles, topology } = fixture;
const BROKER = `${fixture.BROKER}max_age: 604800000000000\n`;

let root: string;
const write = (path: string, content: string) => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
};

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sidecart-lint-'));
  for (const { path, content } of daprFiles()) write(path, content);
  write('components/brokers/jetstream.yaml', BROKER);
  for (const overlay of ['local', 'production'])
    write(`k8s/overlays/${overlay}/kustomization.yaml`, `namespace: ${topology.namespace}\n`);
});
afterEach(() => rmSync(root, { recursive: true }));

test('every template is looked at, whether the table names it or not, and no generated file beside it', () => {
  write('components/brokers/jetstream-streams.generated.yaml', 'streams: []\n');
  expect(lintProject(root, topology)).toEqual([]);
  write('components/brokers/other.yaml', BROKER.replace('deliver: 3s', 'deliver: 1s'));
  expect(lintProject(root, topology)).toEqual([
    expect.stringMatching(/^components\/brokers\/other\.yaml: the timeout deliver/),
  ]);
});

test('an overlay for another namespace than the table’s is named, with the cure', () => {
  expect(lintProject(root, { ...topology, namespace: 'other' })).toEqual(
    ['local', 'production'].map((overlay) =>
      expect.stringMatching(
        `^k8s/overlays/${overlay}/kustomization.yaml: namespace is ${topology.namespace}, and other in topology.yaml. Write namespace: other here`,
      ),
    ),
  );
});
