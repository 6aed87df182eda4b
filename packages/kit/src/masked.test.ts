import { expect, test } from 'vitest';
import { masked, maskedText, unmasked } from './masked.ts';

const NAMES = ['token'];
const VALUE = { id: 'a', token: 'tok_1', deep: [{ token: 'tok_2', n: 1 }] };

test('a value under one of the names is not shown, wherever it is; all else is', () => {
  const hidden = { id: 'a', token: '(not shown)', deep: [{ token: '(not shown)', n: 1 }] };
  expect(masked(VALUE, NAMES)).toEqual(hidden);
  expect(JSON.parse(maskedText(JSON.stringify(VALUE), NAMES))).toEqual(hidden);
  expect(masked(VALUE, [])).toEqual(VALUE);
});

test('nor is it in a text that is no JSON, though its end may be missing', () => {
  expect(maskedText('{"n": 1, "token" : "tok_\\"1", "token":"tok_2', NAMES)).toBe(
    '{"n": 1, "token" : "(not shown)", "token":"(not shown)',
  );
  expect(maskedText('no token', NAMES)).toBe('no token');
});

test('what was not shown and is given back is what it was; what was changed is what was given', () => {
  const mended = {
    id: 'b',
    token: '(not shown)',
    deep: [{ token: 'tok_3', n: 2 }, { token: '(not shown)' }],
  };
  expect(unmasked(mended, VALUE, NAMES)).toEqual({ ...mended, token: 'tok_1' });
  expect(unmasked(masked(VALUE, NAMES), VALUE, NAMES)).toEqual(VALUE);
  expect(unmasked(mended, undefined, NAMES)).toEqual(mended);
});
