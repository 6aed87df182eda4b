import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { applyOutputs, findDrift } from './write.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sidecart-write-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const outputs = [
  { path: 'made/a.yaml', content: 'a\n' },
  { path: 'made/deep/b.yaml', content: 'b\n' },
];
const drift = () => findDrift(root, outputs, ['made'], (path) => path.endsWith('.keep'));

test('what is missing, different or left over is found, and set right', () => {
  applyOutputs(root, outputs, drift());
  expect(drift()).toEqual([]);

  writeFileSync(join(root, 'made/a.yaml'), 'edited by hand\n');
  rmSync(join(root, 'made/deep/b.yaml'));
  writeFileSync(join(root, 'made/old.yaml'), 'of an earlier table\n');
  writeFileSync(join(root, 'made/mine.keep'), 'not the generator’s\n');
  expect(drift()).toEqual([
    { path: 'made/a.yaml', problem: 'differs' },
    { path: 'made/deep/b.yaml', problem: 'is missing' },
    { path: 'made/old.yaml', problem: 'is left over' },
  ]);

  applyOutputs(root, outputs, drift());
  expect(drift()).toEqual([]);
  expect(readFileSync(join(root, 'made/a.yaml'), 'utf8')).toBe('a\n');
  expect(readdirSync(join(root, 'made')).sort()).toEqual(['a.yaml', 'deep', 'mine.keep']);
});
