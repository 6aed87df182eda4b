import {
  type BrokerState,
  brokerState,
  type Durable,
  ensureStreams,
  type StreamWanted,
} from '../platform/streams.ts';

export interface BrokerWatch {
  /** One look, now. For the repeated ones: `start`. */
  look(): Promise<void>;
  start(everyMs: number): void;
  stop(): void;
}

/**
 * Meets a broker that came back empty: makes missing streams again, and restarts the sidecars of an app whose durable
 * consumer was there and is gone, because a running sidecar does not make it again.
 */
export function createBrokerWatch(o: {
  url: string;
  streams: StreamWanted[];
  durables: Durable[];
  /** Restarts every sidecar of an app. */
  restartSidecars(app: string, reason: string): void;
  say(text: string): void;
}): BrokerWatch {
  const seen = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let looking = false;

  const look = async () => {
    const names = o.streams.map((stream) => stream.name);
    let state = await brokerState(o.url, names, o.durables);
    if (names.some((name) => !state.streams.has(name))) {
      const made = await ensureStreams(o.url, o.streams);
      if (made.length > 0)
        o.say(`streams were missing on the broker and were made again: ${made.join(', ')}`);
      state = await brokerState(o.url, names, o.durables);
    }
    for (const app of lostApps(state, o.durables, seen))
      o.restartSidecars(app, 'its durable consumer is gone from the broker');
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

/**
 * Apps of which a durable consumer was seen before and is gone. Keeps `seen` up to date: a lost one is forgotten until
 * it is seen again, so that its sidecars are restarted once.
 */
export function lostApps(
  state: Pick<BrokerState, 'consumers'>,
  durables: Durable[],
  seen: Set<string>,
): string[] {
  const lost = durables.filter(({ name }) => seen.has(name) && !state.consumers.has(name));
  for (const { name } of lost) seen.delete(name);
  for (const { name } of durables) if (state.consumers.has(name)) seen.add(name);
  return [...new Set(lost.map(({ app }) => app))];
}
