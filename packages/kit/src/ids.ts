import { v7 } from 'uuid';
import { randomBytes } from './random-bytes.ts';

let msecs = 0;
let seq = 0;

/**
 * A UUIDv7: sorts by the time it was made, so that indexes grow at their end; of one process also within a millisecond (RFC 9562, 6.2,
 * a counter with a random start). The package does so by itself, but asks the system for each one's random bytes, which takes five times as long.
 */
export function uuidv7(): string {
  const random = randomBytes(16);
  const now = Date.now();
  if (now > msecs) {
    msecs = now;
    seq = random.readUInt32BE(6) >>> 1; // half of what there is, so that it cannot run out
  } else {
    seq += 1;
  }
  return v7({ random, msecs, seq });
}

/**
 * An id for the API: a UUIDv7 behind a prefix that tells what it names.
 *
 * @example newId('ord') // 'ord_0199b6d4-...'
 */
export function newId(prefix: string): string {
  return `${prefix}_${uuidv7()}`;
}
