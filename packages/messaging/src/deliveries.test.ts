import { expect, test } from 'vitest';
import { createDeliveries } from './deliveries.ts';

test('counts per message, until it is forgotten or so many others came that there is no room', () => {
  const deliveries = createDeliveries(2);
  expect([deliveries.count('t', 'a'), deliveries.count('t', 'a'), deliveries.count('u', 'a')]).toEqual([
    1, 2, 1,
  ]);
  deliveries.count('t', 'c'); // t a was the oldest
  expect(deliveries.count('t', 'a')).toBe(1);
  deliveries.forget('t', 'a');
  expect(deliveries.count('t', 'a')).toBe(1);
});
