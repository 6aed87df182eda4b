import { z } from 'zod';
import { ProblemError } from './problem.ts';

const LIMIT = 'Expected a whole number from 1 to 200';

/** Query parameters of a list: `limit` 1 to 200 (default 50) and the `cursor` of the page before. */
export const pageQuery = z.strictObject({
  limit: z
    // Digits only: Number() would also take '', ' 5', '0x10' and '1e2'.
    .preprocess(
      (text) => (typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : text),
      z.int(LIMIT).min(1, LIMIT).max(200, LIMIT),
    )
    .default(50),
  cursor: z.string().min(1).max(512).optional(),
});

/** Schema of a list's answer. */
export function listSchema<S extends z.ZodType>(item: S) {
  return z.object({ items: z.array(item), next_cursor: z.string().optional() });
}

/** Makes an opaque cursor of the sort key of a page's last row. */
export function encodeCursor(key: string[]): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

/**
 * The sort key in a cursor, `undefined` without one.
 *
 * @param parts how many strings the key has
 * @throws ProblemError validation_failed at `query:cursor` for anything that {@link encodeCursor} did not make.
 */
export function decodeCursor(cursor: string | undefined, parts: number): string[] | undefined {
  if (cursor === undefined) return undefined;
  const key = parseKey(cursor);
  if (key?.length === parts && encodeCursor(key) === cursor) return key;
  throw new ProblemError('validation_failed', {
    errors: [
      {
        pointer: 'query:cursor',
        code: 'invalid_cursor',
        detail: 'Use next_cursor of the page before, unchanged.',
      },
    ],
  });
}

/**
 * Cuts rows to a page; read one row more than `limit` so that it is known whether there is a next page.
 *
 * @example listResponse(rows, limit, (row) => [row.sku])
 */
export function listResponse<T>(
  rows: T[],
  limit: number,
  keyOf: (row: T) => string[],
): { items: T[]; next_cursor?: string } {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return rows.length > limit && last !== undefined
    ? { items, next_cursor: encodeCursor(keyOf(last)) }
    : { items };
}

function parseKey(cursor: string): string[] | undefined {
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    const isKey =
      Array.isArray(key) &&
      key.every((part) => typeof part === 'string' && !part.includes('\0') && part.isWellFormed());
    return isKey ? key : undefined;
  } catch {
    return undefined;
  }
}
