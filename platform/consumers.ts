import { type ConsumerSettings, type ConsumerWanted, findConsumer, withBroker } from './streams.ts';

/**
 * Brings durable consumers that exist to what the components say now. A sidecar does not change one: it finds the name
 * `already in use` and never subscribes. Returns the names of those that were changed.
 */
export async function alignConsumers(url: string, wanted: ConsumerWanted[]): Promise<string[]> {
  return withBroker(url, async (jsm) => {
    const changed: string[] = [];
    for (const { stream, name, settings } of wanted) {
      const found = await findConsumer(jsm, { stream, name });
      const differs = Object.entries(settings).some(
        ([key, value]) => found !== undefined && found.config[key as keyof ConsumerSettings] !== value,
      );
      if (!differs) continue;
      await jsm.consumers.update(stream, name, settings);
      changed.push(name);
    }
    return changed;
  });
}
