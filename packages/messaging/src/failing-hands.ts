import { setTimeout as sleep } from 'node:timers/promises';
import type { Choice, FailingMessage } from './failing.ts';
import { HandlerTimeoutError } from './failures.ts';
import { createWake } from './wake.ts';

export interface FailingHands {
  start(): void;
  /** There is one more. */
  wake(): void;
  /** Resolves when the tries under way have ended. */
  stop(): Promise<void>;
}

/** After a try that failed a hand rests for so long, in ms: any number of messages that fail at once are tried twenty times a second at most. */
const REST_MS = 100;

/**
 * Two hands try what was set aside, of one topic after the other, so that many that fail on one hold up no other. One hand takes what is due for
 * the longest time, so that each has its turn; the other what was tried least, so that what only failed for a moment need not wait for all
 * that have failed for hours. A hand goes on when its message has come to an end.
 */
export function createFailingHands(o: {
  topics: readonly string[];
  /** Of the first topic that has one. */
  claim: (topics: readonly string[], choice: Choice) => Promise<FailingMessage | undefined>;
  /** False when it failed again. `stopping`: it is to be given up. */
  tryAgain: (message: FailingMessage, stopping: AbortSignal) => Promise<boolean>;
  /** Time between two looks, in ms, while there is nothing to do. */
  pollMs: number;
  onError: (err: unknown) => void;
}): FailingHands {
  const stopping = new AbortController();
  const hands = (['longest due', 'least tried'] as const).map((choice) => ({ choice, wake: createWake() }));
  const wake = () => {
    for (const hand of hands) hand.wake.up();
  };
  let running: Promise<void>[] = [];

  async function work({ choice, wake: own }: (typeof hands)[0]): Promise<void> {
    let topics = o.topics;
    while (!stopping.signal.aborted) {
      try {
        const message = await o.claim(topics, choice);
        if (!message) {
          await own.sleep(o.pollMs);
          continue;
        }
        const at = topics.indexOf(message.topic) + 1;
        topics = [...topics.slice(at), ...topics.slice(0, at)];
        // Not ended by a wake: others that are set aside meanwhile fail as well, more likely than not.
        if (!(await o.tryAgain(message, stopping.signal))) await sleep(REST_MS);
      } catch (err) {
        o.onError(err);
        await own.sleep(o.pollMs);
      }
    }
  }

  return {
    wake,
    start() {
      running = hands.map(work);
    },
    async stop() {
      stopping.abort(new HandlerTimeoutError('Its process ended before it was handled'));
      wake();
      await Promise.all(running);
    },
  };
}
