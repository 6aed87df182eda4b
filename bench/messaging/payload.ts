import type { Message } from './ledger.ts';

/** Bytes of a message's data as JSON. */
export const PAYLOAD_BYTES = 256;

/** A message whose JSON is exactly {@link PAYLOAD_BYTES} long. */
export function paddedMessage(n: number, key: string, seq: number): Message {
  const bare = JSON.stringify({ n, key, seq, filler: '' }).length;
  return { n, key, seq, filler: 'x'.repeat(Math.max(0, PAYLOAD_BYTES - bare)) };
}
