import { expect, test } from 'vitest';
import { OUTBOX_SLOTS } from './slot.ts';
import { shareOf, slotsFrom } from './slot-share.ts';

const ranks = (alive: number) => Array.from({ length: alive }, (_, before) => before);

test.each([1, 2, 3, 5, 8, 16, 17, 20])(
  'the shares of %i sessions add up to all slots and are level',
  (alive) => {
    const shares = ranks(alive).map((before) => shareOf(alive, before));
    expect(shares.reduce((sum, share) => sum + share, 0)).toBe(OUTBOX_SLOTS);
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    expect(Math.max(...shares)).toBeLessThanOrEqual(Math.ceil(OUTBOX_SLOTS / alive));
  },
);

test('a session that does not see itself yet asks for what one alone would', () => {
  expect(shareOf(0, 0)).toBe(OUTBOX_SLOTS);
});

test.each([1, 2, 3, 16])('of %i sessions each asks for every slot, beginning elsewhere', (alive) => {
  const orders = ranks(alive).map((before) => slotsFrom(alive, before));
  for (const order of orders) expect(new Set(order).size).toBe(OUTBOX_SLOTS);
  expect(new Set(orders.map(([first]) => first)).size).toBe(alive);
});
