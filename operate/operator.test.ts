import { userInfo } from 'node:os';
import { expect, test } from 'vitest';
import { decider } from './operator.ts';

test('who decides is whoever is named, else the user here', () => {
  expect(decider({ as: 'José Ruiz' })).toBe('José Ruiz');
  expect(decider({})).toBe(userInfo().username);
});

test.each([
  ['', '"" is no name of somebody who decides'],
  [' ', '" " is no name of somebody who decides'],
  ['Ann\nSmith', '"Ann\\nSmith" is no name of somebody who decides'],
  ['é'.repeat(129), 'a name of 129 characters is too long to be kept'],
])('a name that cannot be kept is refused with the cure: %j', (as, fault) => {
  expect(() => decider({ as })).toThrow(
    expect.objectContaining({
      message: fault,
      cure: 'give one of 1 to 128 characters in one line with --as NAME',
    }),
  );
});
