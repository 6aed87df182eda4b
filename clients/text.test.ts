import { expect, test } from 'vitest';
import { byCount, formatCount, formatPence, formatTable } from './text.ts';

test('counts and money are written for people', () => {
  expect(formatCount(12392)).toBe('12,392');
  expect([0, 5, 99, 100, 1234567].map(formatPence)).toEqual([
    '£0.00',
    '£0.05',
    '£0.99',
    '£1.00',
    '£12,345.67',
  ]);
});

test('a table has its counts in one column', () => {
  const rows = [
    { label: 'all', count: 1200 },
    { label: 'some', count: 7, indent: 1 },
  ];
  expect(formatTable(rows)).toBe('all     1,200\n  some      7');
});

test('counts come largest first', () => {
  expect(
    byCount(
      new Map([
        ['a', 1],
        ['b', 3],
      ]),
    ).map((row) => row.label),
  ).toEqual(['b', 'a']);
});
