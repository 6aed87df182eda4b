import { expect, test } from 'vitest';
import { isIntegrityViolation, isTransientDbError } from './db-errors.ts';

const withCode = (code: unknown, cause?: unknown) => Object.assign(new Error('x', { cause }), { code });

test.each([
  ['ECONNREFUSED'],
  ['CONNECTION_CLOSED'],
  ['POOL_TIMEOUT'],
  ['08006'],
  ['53300'],
  ['57P01'],
  ['57P03'],
  ['40001'],
  ['40P01'],
  ['55P03'],
  ['57014'],
])('%s may pass, however deep it is wrapped', (code) => {
  expect(isTransientDbError(withCode(code))).toBe(true);
  expect(isTransientDbError(new Error('a', { cause: new Error('b', { cause: withCode(code) }) }))).toBe(true);
  expect(isIntegrityViolation(withCode(code))).toBe(false);
});

test.each([['23505'], ['42P01'], ['22P05'], ['28P01'], ['3D000'], ['ENOENT'], [undefined], [57014]])(
  '%s does not pass by waiting',
  (code) => {
    expect(isTransientDbError(withCode(code))).toBe(false);
  },
);

test('class 23 is a broken constraint', () => {
  expect(isIntegrityViolation(new Error('a', { cause: withCode('23505') }))).toBe(true);
  expect(isIntegrityViolation(withCode('23514'))).toBe(true);
  expect(isIntegrityViolation(withCode('42P01'))).toBe(false);
});

test('anything may be asked', () => {
  const circle: { cause?: unknown } = {};
  circle.cause = circle;
  for (const odd of [undefined, null, 'text', 5, circle]) {
    expect(isTransientDbError(odd)).toBe(false);
    expect(isIntegrityViolation(odd)).toBe(false);
  }
});
