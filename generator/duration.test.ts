import { describe, expect, test } from 'vitest';
import { milliseconds } from './duration.ts';

describe('a duration as Go writes it', () => {
  test.each([
    ['20s', 20_000],
    ['500ms', 500],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
  ])('%s', (text, expected) => expect(milliseconds(text)).toBe(expected));

  test.each(['', '20', 's', '20 s', '-1s'])('%j is none', (text) =>
    expect(milliseconds(text)).toBeUndefined(),
  );
});
