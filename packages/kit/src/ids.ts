import { v7 } from 'uuid';

/** A UUIDv7: sorts by the time it was made, so that indexes grow at their end. */
export function uuidv7(): string {
  return v7();
}

/**
 * An id for the API: a UUIDv7 behind a prefix that tells what it names.
 *
 * @example newId('ord') // 'ord_0199b6d4-...'
 */
export function newId(prefix: string): string {
  return `${prefix}_${v7()}`;
}
