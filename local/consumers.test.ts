import { describe, expect, test } from 'vitest';
import { durationNs } from './consumers.ts';

describe('a duration as Go writes it', () => {
  test.each([
    ['20s', 20e9],
    ['500ms', 5e8],
    ['1m30s', 90e9],
    ['1.5h', 5_400e9],
  ])('%s', (text, nanoseconds) => expect(durationNs(text)).toBe(nanoseconds));

  test.each(['', '20', 's', '20 s', '-1s'])('%j is none', (text) =>
    expect(() => durationNs(text)).toThrow(/no duration/),
  );
});
