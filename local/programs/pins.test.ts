import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import semver from 'semver';
import { expect, test } from 'vitest';
import { DAPR_COMPONENTS, PINS, PROGRAMS } from './pins.ts';

const root = resolve(import.meta.dirname, '../..');

/** Component types whose registration is in a file of another name. */
const FILES: Record<string, string> = { 'state.postgresql': 'state_postgres' };

test('a daprd that is built here has every component that this project has a file for', () => {
  // By pattern, as the templates of the brokers are no YAML before they are filled in.
  const types = globSync('components/**/*.yaml', { cwd: root }).flatMap((file) =>
    [...readFileSync(join(root, file), 'utf8').matchAll(/^ {2}type: (\S+)$/gm)].map(([, type = '']) => type),
  );
  expect(types).toContain('pubsub.jetstream');
  const missing = types.filter((type) => !DAPR_COMPONENTS.includes(FILES[type] ?? type.replaceAll('.', '_')));
  expect(missing).toEqual([]);
});

test.each(PROGRAMS)('what is built of %s is accepted', (name) => {
  expect(semver.satisfies(PINS[name].builds, PINS[name].accepts)).toBe(true);
});
