import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seed } from '../../../tests/seed.ts';
import { isActorName, readActor, writeActor } from './actor.ts';

test.each([
  'Ann Smith',
  'José',
  'Łukasz',
  '王小明',
  'علی‌رضا',
  '👩‍💻',
  ' Ann ',
  'a,b',
  "O'Brien",
  "UTF-8''José",
  "UTF-8''a%41",
  '%zz é',
])('%j arrives as it was written, in a header that takes ASCII only', (name) => {
  expect(writeActor(name)).toMatch(/^[\x21-\x7e]+$/);
  expect(readActor(writeActor(name))).toBe(name);
});

test('so does any name that there may be', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 140 }), (name) => {
      fc.pre(isActorName(name));
      expect(readActor(writeActor(name))).toBe(name);
    }),
    { seed },
  );
});

test.each(['ana', 'user:7', '100%', 'a%41', 'a%20b', "utf-8''a"])(
  '%j is visible ASCII: it is sent and read as it is, whoever sends it',
  (name) => {
    expect(writeActor(name)).toBe(name);
    expect(readActor(name)).toBe(name);
  },
);

test.each([
  ['nothing', ''],
  ['blanks', 'Ann Smith'],
  ['bytes of an encoding that nobody named', 'JosÃ©'],
  ['two headers', 'ana, bob'],
  ['broken percent-encoding', "UTF-8''%4"],
  ['what is no UTF-8', "UTF-8''%e9"],
  ['an encoded nothing', "UTF-8''"],
  ['encoded blanks only', "UTF-8''%20%20"],
  ['a NUL', "UTF-8''a%00"],
  ['a line break', "UTF-8''a%0Ab"],
  ['a line break of Unicode', "UTF-8''a%E2%80%A8b"],
  ['an escape of a terminal', "UTF-8''a%1B%5B2J"],
  ['a control character of Latin-1', "UTF-8''a%C2%9B"],
])('%s cannot be read', (_, value) => {
  expect(readActor(value)).toBeUndefined();
});

test('a name has at most 128 characters, however long it is when it is encoded', () => {
  expect(readActor('a'.repeat(128))).toHaveLength(128);
  expect(readActor('a'.repeat(129))).toBeUndefined();
  const longest = '𝔸'.repeat(128);
  expect(readActor(writeActor(longest))).toBe(longest);
  expect(readActor(writeActor(`${longest}a`))).toBeUndefined();
});
