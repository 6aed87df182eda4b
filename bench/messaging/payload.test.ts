import { expect, test } from 'vitest';
import { PAYLOAD_BYTES, paddedMessage } from './payload.ts';

test('every payload is as long as the others', () => {
  for (const [n, key, seq] of [
    [0, 'key-0', 0],
    [1_234_567, 'key-9999', 98_765],
  ] as const)
    expect(JSON.stringify(paddedMessage(n, key, seq)).length).toBe(PAYLOAD_BYTES);
});
