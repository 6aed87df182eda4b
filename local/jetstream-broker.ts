import { ensureBroker, keepConsumers, type SeenConsumers } from '../platform/consumers.ts';
import { type BrokerWanted, brokerState, readBrokerWanted, withBroker } from '../platform/streams.ts';
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

/** Meets a broker that came back empty: makes again what is missing, in the way that the sidecars that run still listen to. */
export function jetstreamTasks(url: string, wanted: BrokerWanted): BrokerTasks {
  const { streams, consumers } = wanted;
  const seen: SeenConsumers = new Map();
  const names = streams.map(({ name }) => name);
  return {
    ping: () => withBroker(url, async (jsm) => void (await jsm.getAccountInfo())),
    prepare: async () => void (await ensureBroker(url, wanted, seen)),
    align: async () => (await keepConsumers(url, consumers, seen)).changed,
    async unread() {
      const state = await brokerState(url, [], consumers);
      return consumers.map(({ name }) => name).filter((name) => !state.consumers.get(name)?.bound);
    },
    async look() {
      const state = await brokerState(url, names, []);
      const lost = names.some((name) => !state.streams.has(name));
      const madeStreams = lost ? await ensureBroker(url, wanted, seen) : [];
      const { made } = await keepConsumers(url, consumers, seen);
      return [...note('streams', madeStreams), ...note('consumers', made)];
    },
  };
}

const note = (what: string, made: string[]) =>
  made.length === 0 ? [] : [`${what} were missing on the broker and were made again: ${made.join(', ')}`];
