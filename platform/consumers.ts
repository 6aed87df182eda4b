import type { ConsumerConfig } from '@nats-io/jetstream';
import { type ConsumerSettings, type ConsumerWanted, findConsumer, withBroker } from './streams.ts';

/** What was found and done; each is a list of names. */
export interface KeptConsumers {
  /** Brought to their wanted settings. */
  changed: string[];
  /** Made again as they were. */
  restored: string[];
  /** Not there and never seen: no sidecar has subscribed yet, or the broker lost them before anybody looked. */
  missing: string[];
  /** There, and nobody takes what they deliver: no sidecar of the app is subscribed. */
  unbound: string[];
}

/**
 * Brings durable consumers to what the components say now, and makes those again that were `seen` and are gone. A sidecar
 * does neither: with other settings it finds the name `already in use` and never subscribes, and while it runs it does
 * not notice that its consumer is gone. One made again as it was delivers to the subscriptions that the running sidecars
 * still have. Keeps `seen` up to date; it belongs to the caller, for as long as it looks.
 */
export async function keepConsumers(
  url: string,
  wanted: ConsumerWanted[],
  seen: Map<string, ConsumerConfig>,
): Promise<KeptConsumers> {
  return withBroker(url, async (jsm) => {
    const kept: KeptConsumers = { changed: [], restored: [], missing: [], unbound: [] };
    for (const { stream, name, settings } of wanted) {
      const info = await findConsumer(jsm, { stream, name });
      const found = info?.config;
      const known = found ?? seen.get(name);
      if (!known) {
        kept.missing.push(name);
        continue;
      }
      if (info && !info.push_bound) kept.unbound.push(name);
      const config = { ...known, ...settings };
      seen.set(name, config);
      if (!found) {
        await jsm.consumers.add(stream, config);
        kept.restored.push(name);
      } else if (differs(found, settings)) {
        await jsm.consumers.update(stream, name, settings);
        kept.changed.push(name);
      }
    }
    return kept;
  });
}

function differs(config: ConsumerConfig, settings: ConsumerSettings): boolean {
  return Object.entries(settings).some(([key, value]) => config[key as keyof ConsumerSettings] !== value);
}
