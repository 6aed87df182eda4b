import { AckPolicy, type ConsumerConfig, DeliverPolicy, type JetStreamManager } from '@nats-io/jetstream';
import {
  type BrokerWanted,
  type ConsumerSettings,
  type ConsumerWanted,
  ensureStreams,
  findConsumer,
  withBroker,
} from './streams.ts';

/** Durable consumers as they were last found or made, by name. */
export type SeenConsumers = Map<string, ConsumerConfig>;

/** What was found and done; each is a list of names. */
export interface KeptConsumers {
  /** Brought to their wanted settings. */
  changed: string[];
  /** Not there, and made. */
  made: string[];
  /** There, and nobody takes what they deliver: no sidecar of the app is subscribed. */
  unbound: string[];
}

/** Makes the streams that are missing, each with its consumers. Returns the names of those it made. */
export function ensureBroker(
  url: string,
  { streams, consumers }: BrokerWanted,
  seen: SeenConsumers,
): Promise<string[]> {
  return ensureStreams(url, streams, async (jsm, stream) => {
    for (const consumer of consumers.filter((one) => one.stream === stream))
      await makeConsumer(jsm, consumer, seen);
  });
}

/**
 * Brings durable consumers to what the components say now, and makes those that are not there. A sidecar does neither: with
 * other settings it finds the name `already in use` and never subscribes, and while it runs it does not notice that its consumer
 * is gone. Keeps `seen` up to date; it belongs to the caller, for as long as it looks.
 */
export async function keepConsumers(
  url: string,
  wanted: ConsumerWanted[],
  seen: SeenConsumers,
): Promise<KeptConsumers> {
  return withBroker(url, async (jsm) => {
    const kept: KeptConsumers = { changed: [], made: [], unbound: [] };
    for (const consumer of wanted) {
      const { stream, name, settings } = consumer;
      const info = await findConsumer(jsm, consumer);
      if (!info) {
        await makeConsumer(jsm, consumer, seen);
        kept.made.push(name);
        continue;
      }
      seen.set(name, { ...info.config, ...settings });
      if (!info.push_bound) kept.unbound.push(name);
      if (differs(info.config, settings)) {
        await jsm.consumers.update(stream, name, settings);
        kept.changed.push(name);
      }
    }
    return kept;
  });
}

/**
 * Makes a durable consumer, before a sidecar does. A sidecar would have it deliver to an address that it makes up at each start, so that
 * one made again by somebody else reaches no sidecar that runs, unless that somebody saw the last one. Here the address follows
 * from the name: whoever subscribed to it before the broker lost everything, however often, is served again. A sidecar that finds the
 * consumer takes the address from it. One that a sidecar made all the same is made again as it was `seen`.
 */
export async function makeConsumer(
  jsm: JetStreamManager,
  { stream, topic, name, settings }: ConsumerWanted,
  seen: SeenConsumers,
): Promise<void> {
  const asWanted: ConsumerConfig = {
    durable_name: name,
    // Below the prefix that every client of NATS listens on: a sidecar needs no other right than before.
    deliver_subject: `_INBOX.sidecart.${name}`,
    deliver_group: name,
    filter_subject: topic,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
  } as ConsumerConfig;
  const config = { ...asWanted, ...seen.get(name), ...settings };
  await jsm.consumers.add(stream, config);
  seen.set(name, config);
}

function differs(config: ConsumerConfig, settings: ConsumerSettings): boolean {
  return Object.entries(settings).some(([key, value]) => config[key as keyof ConsumerSettings] !== value);
}
