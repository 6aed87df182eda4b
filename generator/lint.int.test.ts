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
