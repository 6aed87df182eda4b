import {
  closeProbe,
  pingRedis,
  type RedisWanted,
  readLately,
  trimStreams,
  waitingReaders,
  withRedis,
} from '../platform/redis-streams.ts';
import { readBrokerWanted } from '../platform/streams.ts';
import type { BrokerTasks, LocalBroker } from './local-broker.ts';
import { REDIS_USER, redisCommand, redisStore, redisUrl, writeRedisConfig } from './redis.ts';

export const redisBroker: LocalBroker = {
  name: 'redis',
  title: 'Redis Streams',
  preferredPort: 16379,
  program: 'redisServer',
  url: redisUrl,
  secret: (port, password) => ({
    url: redisUrl(port, password),
    host: `127.0.0.1:${port}`,
    username: REDIS_USER,
    password,
    tls: 'false',
  }),
  command: redisCommand,
  store: redisStore,
  async changePassword({ oldPassword, ...o }) {
    writeRedisConfig(o);
    await withRedis(redisUrl(o.port, oldPassword), async (send) => {
      await send('CONFIG', 'SET', 'requirepass', o.password);
      // A connection that is there would go on as it is.
      await send('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    });
  },
  tasks: (url, file) => redisTasks(url, readBrokerWanted<RedisWanted>(file)),
};

/** Longer than a sidecar pauses between two looks for messages to take over. */
const LATELY_MS = 20_000;

/** Sidecars make streams and groups themselves, also in a broker that came back empty. */
export function redisTasks(url: string, { streams, consumers }: RedisWanted): BrokerTasks {
  return {
    ping: () => pingRedis(url),
    prepare: async () => void (await closeProbe(url)),
    align: async () => [],
    async unread(readers) {
      const lately = await readLately(url, consumers, LATELY_MS);
      const missing = consumers.map(({ name }) => name).filter((name) => !lately.has(name));
      return missing.length === 0 || (await waitingReaders(url)) >= readers ? [] : missing;
    },
    async look() {
      const notes = (await closeProbe(url)) ? ['the key of the probes was gone and was made again'] : [];
      await trimStreams(url, streams);
      return notes;
    },
  };
}
