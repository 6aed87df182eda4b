import pRetry from 'p-retry';

/**
 * Repeats `look` until it no longer throws.
 * @param what names what is waited for; it is the message when the time is over, with the last reason.
 */
export async function waitUntil(
  what: string,
  look: () => Promise<void>,
  o: { timeoutMs: number; everyMs?: number; signal?: AbortSignal },
): Promise<void> {
  const everyMs = o.everyMs ?? 50;
  let last: unknown;
  try {
    await pRetry(
      async () => {
        try {
          await look();
        } catch (err) {
          last = err;
          throw err instanceof TypeError ? new Error(err.message, { cause: err }) : err;
        }
      },
      {
        retries: Number.POSITIVE_INFINITY,
        minTimeout: everyMs,
        factor: 1,
        maxRetryTime: o.timeoutMs,
        ...(o.signal ? { signal: o.signal } : {}),
      },
    );
  } catch (err) {
    if (o.signal?.aborted) throw err;
    const reason = last instanceof Error ? last.message : String(last);
    throw new Error(`waited ${Math.round(o.timeoutMs / 1000)} s in vain for ${what}: ${reason}`, {
      cause: last,
    });
  }
}

/** Throws unless a GET answers with the wanted status within a second. */
export async function expectStatus(url: string, status: number): Promise<void> {
  const response = await fetch(url, { signal: AbortSignal.timeout(1_000) });
  const body = await response.text();
  if (response.status === status) return;
  throw new Error(`${url} answered ${response.status}${body && `: ${body.slice(0, 300)}`}`);
}
