/** Runs `work` while no other process on this folder runs its own; see lock.mjs. */
export function withLock<T>(
  folder: string,
  work: () => Promise<T>,
  o?: { onWait?: () => void; signal?: AbortSignal | undefined; pollMs?: number; staleAfterPolls?: number },
): Promise<T>;
