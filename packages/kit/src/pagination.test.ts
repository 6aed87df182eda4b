import { expect, test } from 'vitest';
import { decodeCursor, encodeCursor, listResponse, pageQuery } from './pagination.ts';
import { ProblemError } from './problem.ts';

test('a cursor gives back the key it was made of', () => {
  const key = ['2026-01-01T00:00:00.000Z', 'ord_1', 'ä/"'];
  expect(decodeCursor(encodeCursor(key), 3)).toEqual(key);
  expect(decodeCursor(undefined, 1)).toBeUndefined();
});

test.each([
  ['not-a-cursor'],
  ['%%%'],
  [encodeCursor(['a'])],
  [`${encodeCursor(['a', 'b'])}x`],
  [Buffer.from('["a", "b"]').toString('base64url')],
  [Buffer.from('["a",1]').toString('base64url')],
  [Buffer.from('{"length":2}').toString('base64url')],
  [Buffer.from('["a","\\u0000"]').toString('base64url')],
  [Buffer.from('["a","\\ud800"]').toString('base64url')],
])('a cursor that was tampered with is a fault of the client: %s', (cursor) => {
  expect(() => decodeCursor(cursor, 2)).toThrow(ProblemError);
});

test('the next cursor is there only when there is a next page', () => {
  const rows = [{ sku: 'a' }, { sku: 'b' }, { sku: 'c' }];
  const page = listResponse(rows, 2, (row) => [row.sku]);
  expect(page.items).toEqual([{ sku: 'a' }, { sku: 'b' }]);
  expect(decodeCursor(page.next_cursor, 1)).toEqual(['b']);
  expect(listResponse(rows, 3, (row) => [row.sku])).toEqual({ items: rows });
  expect(listResponse([], 3, () => [])).toEqual({ items: [] });
});

test('limit is 1 to 200, 50 when not given', () => {
  expect(pageQuery.parse({})).toEqual({ limit: 50 });
  expect(pageQuery.parse({ limit: '200' }).limit).toBe(200);
  for (const limit of [
    '0',
    '201',
    '1.5',
    'x',
    '',
    ' ',
    ' 5',
    '+5',
    '-1',
    '0x10',
    '1e2',
    '9'.repeat(400),
    ['1', '2'],
  ])
    expect(pageQuery.safeParse({ limit }).error?.issues).toMatchObject([
      { path: ['limit'], message: 'Expected a whole number from 1 to 200' },
    ]);
  expect(pageQuery.safeParse({ page: '1' }).success).toBe(false);
});
