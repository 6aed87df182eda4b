import { OUTBOX_SLOTS } from './slot.ts';

/**
 * How many slots a session may own, when so many are alive and so many of those come before it. The shares of all add up to
 * the number of slots, and differ by one at most.
 */
export function shareOf(alive: number, before: number): number {
  const n = Math.max(1, alive);
  return Math.floor(OUTBOX_SLOTS / n) + (before < OUTBOX_SLOTS % n ? 1 : 0);
}

/** All slots in the order in which such a session asks for them: each begins elsewhere, so that few ask for the same. */
export function slotsFrom(alive: number, before: number): number[] {
  const first = Math.floor((before * OUTBOX_SLOTS) / Math.max(1, alive));
  return Array.from({ length: OUTBOX_SLOTS }, (_, i) => (first + i) % OUTBOX_SLOTS);
}
