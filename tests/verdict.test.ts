import { expect, test } from 'vitest';
import { verdictOf } from './verdict.ts';

const run = { passed: 3, failed: 0, skipped: 0, brokenFiles: 0, code: 0 };

test.each([
  ['all passed', run, { passed: 3, failed: 0, exitCode: 0 }],
  ['a test failed', { ...run, failed: 1, code: 1 }, { passed: 3, failed: 1, exitCode: 1 }],
  [
    'a file failed before its first test',
    { ...run, brokenFiles: 1, code: 1 },
    { passed: 3, failed: 1, exitCode: 1 },
  ],
  ['the set-up threw', { ...run, passed: 0, code: 1 }, { passed: 0, failed: 1, exitCode: 1 }],
  ['the tear-down threw', { ...run, code: 1 }, { passed: 3, failed: 1, exitCode: 1 }],
  ['vitest was killed', { ...run, code: null }, { passed: 3, failed: 1, exitCode: 1 }],
  ['all were skipped', { ...run, passed: 0, skipped: 2 }, { passed: 0, failed: 0, exitCode: 0 }],
  ['no test was found', { ...run, passed: 0 }, { passed: 0, failed: 1, exitCode: 1 }],
])('%s', (_name, told, verdict) => {
  expect(verdictOf(told)).toEqual(verdict);
});
