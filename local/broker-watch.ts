import type { BrokerTasks } from './local-broker.ts';

export interface BrokerWatch {
  /** One look, now. For the repeated ones: `start`. */
  look(): Promise<void>;
  start(everyMs: number): void;
  stop(): void;
}

/** Looks after the broker, and restarts the sidecars of an app that receives nothing from it any more. */
export function createBrokerWatch(o: {
  tasks: Pick<BrokerTasks, 'look'>;
  /** Restarts every sidecar of an app. */
  restartSidecars(app: string, reason: string): void;
  say(text: string): void;
}): BrokerWatch {
  let timer: NodeJS.Timeout | undefined;
  let looking = false;

  const look = async () => {
    const { notes, lostApps } = await o.tasks.look();
    for (const note of notes) o.say(note);
    for (const app of lostApps) o.restartSidecars(app, 'its durable consumer is gone from the broker');
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
