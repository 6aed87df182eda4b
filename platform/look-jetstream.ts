import type { Logger } from '@sidecart/kit/log';
import { ensureBroker, keepConsumers, type SeenConsumers } from './consumers.ts';
import { type BrokerWanted, brokerState } from './streams.ts';

/** One look at the broker, which does what is to be done; tells which consumers no sidecar is subscribed to. */
export function lookAtJetStream(o: {
  url: string;
  wanted: BrokerWanted;
  log: Logger;
}): () => Promise<string[]> {
  const { url, wanted, log } = o;
  const names = wanted.streams.map(({ name }) => name);
  const seen: SeenConsumers = new Map();
  let settled = false;

  return async () => {
    const { streams } = await brokerState(url, names, []);
    if (!settled || names.some((name) => !streams.has(name))) {
      const made = await ensureBroker(url, wanted, seen);
      if (made.length > 0) log.info({ streams: made }, 'streams were missing and were made');
    }
    if (!settled) log.info({ streams: names }, 'streams are there');
    settled = true;

    const { changed, made, unbound } = await keepConsumers(url, wanted.consumers, seen);
    if (changed.length > 0)
      log.info({ consumers: changed }, 'consumers were brought to their wanted settings');
    if (made.length > 0) log.info({ consumers: made }, 'consumers were missing and were made');
    return unbound;
  };
}
