import { crc32 } from 'node:zlib';

/**
 * Over how many slots the outbox is spread; each slot has one relay at a time. The slot is stored with the row, and
 * two rows of one key must never differ in it: to change this number, drain the outbox first, and change the CHECK of
 * the table with it in the same migration.
 */
export const OUTBOX_SLOTS = 16;

/** The outbox slot of a message key: the same in every process and every version of PostgreSQL. */
export function slotOf(key: string): number {
  return crc32(key) % OUTBOX_SLOTS;
}
