import { crc32 } from 'node:zlib';
import { OUTBOX_SLOTS } from './schema.ts';

/** The outbox slot of a message key: the same in every process and every version of PostgreSQL. */
export function slotOf(key: string): number {
  return crc32(key) % OUTBOX_SLOTS;
}
