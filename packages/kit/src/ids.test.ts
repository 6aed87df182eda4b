import { expect, test, vi } from 'vitest';
import { newId, uuidv7 } from './ids.ts';

test('ids are UUIDs of version 7 with the time in them, each another, in the order in which they were made', () => {
  const before = Date.now();
  const ids = Array.from({ length: 10_000 }, uuidv7);
  for (const id of ids)
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const msOf = (id = '') => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
  expect(msOf(ids[0])).toBeGreaterThanOrEqual(before);
  expect(msOf(ids.at(-1))).toBeLessThanOrEqual(Date.now());
  expect(ids.toSorted()).toEqual(ids);
  expect(new Set(ids.map((id) => id.slice(-8))).size).toBeGreaterThan(9_990);
});

test('nor does a clock that is set back change their order', () => {
  const first = uuidv7();
  vi.useFakeTimers({ now: Date.now() - 3_600_000 });
  try {
    expect(uuidv7() > first).toBe(true);
  } finally {
    vi.useRealTimers();
  }
});

test('an id for the API says what it names', () => {
  expect(newId('ord')).toMatch(/^ord_[0-9a-f-]{36}$/);
});
