import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import semver from 'semver';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { DAPR_COMPONENTS, PINS, PROGRAMS } from './pins.ts';

const root = resolve(import.meta.dirname, '../..');

/** Component types whose registration is in a file of another name. */
const FILES: Record<string, string> = { 'state.postgresql': 'state_postgres' };

test('a daprd that is built here has every component that this project has a file for', () => {
  const types = globSync('components/**/*.yaml', { cwd: root })
    .flatMap((file) => parseAllDocuments(readFileSync(join(root, file), 'utf8')))
    .map((document) => document.toJS() as { kind?: string; spec?: { type?: string } })
    .flatMap(({ kind, spec }) => (kind === 'Component' && spec?.type !== undefined ? [spec.type] : []));
  expect(types).toContain('pubsub.jetstream');
  const missing = types.filter((type) => !DAPR_COMPONENTS.includes(FILES[type] ?? type.replaceAll('.', '_')));
  expect(missing).toEqual([]);
});

test.each(PROGRAMS)('what is built of %s is accepted', (name) => {
  expect(semver.satisfies(PINS[name].builds, PINS[name].accepts)).toBe(true);
});
