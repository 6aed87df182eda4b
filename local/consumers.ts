import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConsumerUpdateConfig } from '@nats-io/jetstream';
import { parse } from 'yaml';
import type { Durable } from './streams.ts';
import { findConsumer, withBroker } from './streams.ts';

/** What a component asks of its durable consumer and may be changed on one that exists. */
export type ConsumerSettings = Pick<ConsumerUpdateConfig, 'ack_wait' | 'max_deliver' | 'max_ack_pending'>;

/** Reads those settings from a component's file. */
export function readConsumerSettings(componentsDir: string, component: string): ConsumerSettings {
  const { spec } = parse(readFileSync(join(componentsDir, `${component}.yaml`), 'utf8')) as {
    spec: { metadata: { name: string; value?: string }[] };
  };
  const value = (name: string) => spec.metadata.find((entry) => entry.name === name)?.value;
  const [ackWait, maxDeliver, maxAckPending] = ['ackWait', 'maxDeliver', 'maxAckPending'].map(value);
  return {
    ...(ackWait === undefined ? {} : { ack_wait: durationNs(ackWait) }),
    ...(maxDeliver === undefined ? {} : { max_deliver: Number(maxDeliver) }),
    ...(maxAckPending === undefined ? {} : { max_ack_pending: Number(maxAckPending) }),
  };
}

/**
 * Brings durable consumers that exist to what the components say now. A sidecar does not change one: it finds the name
 * `already in use` and never subscribes. Returns the names of those that were changed.
 */
export async function alignConsumers(
  url: string,
  wanted: { durable: Durable; settings: ConsumerSettings }[],
): Promise<string[]> {
  return withBroker(url, async (jsm) => {
    const changed: string[] = [];
    for (const { durable, settings } of wanted) {
      const found = await findConsumer(jsm, durable);
      const differs = Object.entries(settings).some(
        ([key, value]) => found !== undefined && found.config[key as keyof ConsumerSettings] !== value,
      );
      if (!differs) continue;
      await jsm.consumers.update(durable.stream, durable.name, settings);
      changed.push(durable.name);
    }
    return changed;
  });
}

const UNIT_NS: Record<string, number> = { ms: 1e6, s: 1e9, m: 60e9, h: 3_600e9 };

/** A duration as Go writes it (`20s`, `1m30s`), in nanoseconds. */
export function durationNs(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text)
    throw new Error(`${text} is no duration such as 20s or 1m30s`);
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * (UNIT_NS[unit ?? ''] ?? 0), 0);
}
