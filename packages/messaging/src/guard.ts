import type { Retried } from './applying.ts';
import { withDeadline } from './deadline.ts';
import type { FailingMessage } from './failing.ts';
import { HandlerTimeoutError, PoisonError } from './failures.ts';
import { MAX_STARTS } from './limits.ts';
import type { Begun, PoisonGuard } from './poison.ts';

/**
 * Runs what may call a handler: in time, the wait for its turn included, and counted while processes of this service die without a
 * word.
 */
export interface Guard {
  /** A delivery, or a parked message. One that is late is left to finish. */
  guarded<T>(topic: string, eventId: string, work: (starts: number) => Promise<T>): Promise<T>;
  /** One whose deaths nobody counts. */
  inTime<T>(work: () => Promise<T>): Promise<T>;
  /** One that was set aside. It is counted until its handler has ended: one that is undone in time goes on, and may still kill. */
  retried<T>(
    message: FailingMessage,
    stopping: AbortSignal,
    work: (retried: Retried) => Promise<T>,
  ): Promise<T>;
}

export function createGuard(o: {
  poison: Pick<PoisonGuard, 'begin'>;
  /** Time for a delivery, in ms. */
  timeoutMs: number;
  /** And for the handler of a message that was set aside. */
  retryMs: number;
}): Guard {
  const { poison, timeoutMs, retryMs } = o;

  /**
   * Takes the count back when the work has ended, which may be long after its time: until then it may still kill. That of one that is
   * not handled any more stays, in case it cannot be buried now.
   */
  async function ending<T>(begun: Begun, work: Promise<T>): Promise<T> {
    try {
      const result = await work;
      await begun.end();
      return result;
    } catch (err) {
      await begun.end({ keepCount: err instanceof PoisonError });
      throw err;
    }
  }

  return {
    async guarded(topic, eventId, work) {
      const beganAt = performance.now();
      const begun = await poison.begin(topic, eventId, timeoutMs);
      const left = begun.starts === 0 ? timeoutMs : timeoutMs - (performance.now() - beganAt);
      try {
        return await withTimeout(Math.max(0, left), () => ending(begun, work(begun.starts)));
      } finally {
        begun.leave();
      }
    },
    inTime: (work) => withTimeout(timeoutMs, work),
    async retried(message, stopping, work) {
      const begun = await poison.begin(message.topic, message.eventId, timeoutMs);
      const keepCount = begun.starts > MAX_STARTS;
      let handling = Promise.resolve();
      const onBegun = (running: Promise<void>) => {
        handling = running;
      };
      // Others wait for it no longer than for a delivery.
      const leaving = setTimeout(begun.leave, timeoutMs);
      try {
        if (keepCount) throw new PoisonError(begun.starts - 1);
        return await work({ message, timeoutMs: retryMs, stopping, onBegun });
      } finally {
        clearTimeout(leaving);
        begun.leave();
        void handling.catch(() => {}).then(() => begun.end({ keepCount }));
      }
    },
  };
}

/**
 * Answers in time even when the work does not end. The work itself is left to finish: if it commits after all, the
 * next delivery is a duplicate, so a slow database still gets on.
 */
async function withTimeout<T>(ms: number, work: () => Promise<T>): Promise<T> {
  const running = work();
  running.catch(() => {}); // when it fails after the timeout nobody waits for it any more
  return withDeadline(ms, running, () => new HandlerTimeoutError(`Not handled within ${ms} ms`));
}
