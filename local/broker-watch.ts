import type { BrokerTasks } from './local-broker.ts';

export interface BrokerWatch {
  /** One look, now. For the repeated ones: `start`. */
  look(): Promise<void>;
  start(everyMs: number): void;
  stop(): void;
}

/** Looks after the broker. */
export function createBrokerWatch(o: {
  tasks: Pick<BrokerTasks, 'look'>;
  say(text: string): void;
}): BrokerWatch {
  let timer: NodeJS.Timeout | undefined;
  let looking = false;

  const look = async () => {
    for (const note of await o.tasks.look()) o.say(note);
  };

  return {
    look,
    start(everyMs) {
      timer = setInterval(async () => {
        if (looking) return;
        looking = true;
        // A broker that is down is its supervisor's business.
        await look().catch(() => {});
        looking = false;
      }, everyMs);
    },
    stop: () => clearInterval(timer),
  };
}
