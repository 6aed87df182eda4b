import { expect, test } from 'vitest';
import { accountAfter, deposited, EVENT_BYTES, evolveAccount } from './account.ts';

test('every event has the same bytes', () => {
  for (const n of [0, 9, 12_345, 999_999]) {
    const { type, ...data } = deposited(n);
    expect(JSON.stringify(data).length).toBe(EVENT_BYTES);
  }
});

test('the trail tells another order', () => {
  const [one, two] = [deposited(1), deposited(2)];
  const start = accountAfter(0);
  expect(evolveAccount(evolveAccount(start, one), two)).not.toEqual(
    evolveAccount(evolveAccount(start, two), one),
  );
  expect(accountAfter(3)).toEqual(accountAfter(1, 2, accountAfter(2)));
});
