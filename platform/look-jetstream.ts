import type { ConsumerConfig } from '@nats-io/jetstream';
import type { Logger } from '@sidecart/kit/log';
import { keepConsumers } from './consumers.ts';
import { type BrokerWanted, brokerState, ensureStreams } from './streams.ts';

/** One look at the broker, which does what is to be done; tells which consumers no sidecar is subscribed to. */
export function lookAtJetStream(o: {
  url: string;
  wanted: BrokerWanted;
  log: Logger;
}): () => Promise<string[]> {
  const { url, wanted, log } = o;
  const names = wanted.streams.map(({ name }) => name);
  const seen = new Map<string, ConsumerConfig>();
  let settled = false;

  return async () => {
    const { streams } = await brokerState(url, names, []);
    if (!settled || names.some((name) => !streams.has(name))) {
      const made = await ensureStreams(url, wanted.streams);
      if (made.length > 0) log.info({ streams: made }, 'streams were missing and were made');
    }
    if (!settled) log.info({ streams: names }, 'streams are there');
    settled = true;

    const { changed, restored, missing, unbound } = await keepConsumers(url, wanted.consumers, seen);
    if (changed.length > 0)
      log.info({ consumers: changed }, 'consumers were brought to their wanted settings');
    if (restored.length > 0) log.warn({ consumers: restored }, 'consumers were gone and were made again');
    return [...missing, ...unbound];
  };
}
