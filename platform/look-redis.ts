import type { Logger } from '@sidecart/kit/log';
import { closeProbe, missingGroups, type RedisWanted, trimStreams } from './redis-streams.ts';

/** One look at the broker, which does what is to be done; tells which groups no sidecar has made. */
export function lookAtRedis(o: { url: string; wanted: RedisWanted; log: Logger }): () => Promise<string[]> {
  const { url, wanted, log } = o;
  let settled = false;
  return async () => {
    if (await closeProbe(url)) log.info('the key of the probes was closed');
    const entries = await trimStreams(url, wanted.streams);
    if (entries > 0) log.info({ entries }, 'entries were too old and were dropped');
    if (!settled) log.info({ streams: wanted.streams.map(({ name }) => name) }, 'the broker is as wanted');
    settled = true;
    return missingGroups(url, wanted.consumers);
  };
}
