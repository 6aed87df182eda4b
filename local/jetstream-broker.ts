import { keepConsumers } from '../platform/consumers.ts';
import {
  type BrokerState,
  type BrokerWanted,
  brokerState,
  type Durable,
  ensureStreams,
  readBrokerWanted,
  withBroker,
} from '../platform/streams.ts';
import type { BrokerTasks, LocalBroker } from './local-broker.ts';
import { natsCommand, natsStore, natsUrl, writeNatsConfig } from './nats.ts';

export const jetstreamBroker: LocalBroker = {
  name: 'nats',
  title: 'NATS JetStream and its streams',
  preferredPort: 14222,
  program: 'natsServer',
  url: natsUrl,
  secret: (port, password) => ({ url: natsUrl(port, password) }),
  command: natsCommand,
  store: natsStore,
  async changePassword({ hangUp, ...o }) {
    writeNatsConfig(o);
    hangUp();
  },
  tasks: (url, file) => jetstreamTasks(url, readBrokerWanted(file)),
};

/**
 * Meets a broker that came back empty: makes missing streams again, and names the apps whose durable consumer was there
 * and is gone, because a running sidecar does not make it again.
 */
export function jetstreamTasks(url: string, { streams, consumers }: BrokerWanted): BrokerTasks {
  const seen = new Set<string>();
  const names = streams.map(({ name }) => name);
  return {
    ping: () => withBroker(url, async (jsm) => void (await jsm.getAccountInfo())),
    prepare: async () => void (await ensureStreams(url, streams)),
    align: async () => (await keepConsumers(url, consumers, new Map())).changed,
    async unread() {
      const state = await brokerState(url, [], consumers);
      return consumers.map(({ name }) => name).filter((name) => !state.consumers.get(name)?.bound);
    },
    async look() {
      const notes: string[] = [];
      let state = await brokerState(url, names, consumers);
      if (names.some((name) => !state.streams.has(name))) {
        const made = await ensureStreams(url, streams);
        if (made.length > 0)
          notes.push(`streams were missing on the broker and were made again: ${made.join(', ')}`);
        state = await brokerState(url, names, consumers);
      }
      return { notes, lostApps: lostApps(state, consumers, seen) };
    },
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
