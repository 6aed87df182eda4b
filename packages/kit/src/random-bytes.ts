import { randomFillSync } from 'node:crypto';

/** Taken in large pieces: asking for some bytes each time was a tenth of the time of a message. */
const pool = Buffer.alloc(4096);
let used = pool.length;

/** So many random bytes of the system's, 4096 at most; they are the caller's until the next call. */
export function randomBytes(count: number): Buffer {
  if (used + count > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += count;
  return pool.subarray(used - count, used);
}
