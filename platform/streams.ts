import { readFileSync } from 'node:fs';
import {
  type ConsumerInfo,
  type ConsumerUpdateConfig,
  type JetStreamManager,
  jetstreamManager,
  type StreamConfig,
} from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { parse } from 'yaml';

/** A stream as `npm run generate` writes it down: exactly what the broker's API takes. */
export type StreamWanted = StreamConfig;

/** A durable consumer on the broker, which the sidecars of an app subscribe to. */
export interface Durable {
  app: string;
  topic: string;
  stream: string;
  name: string;
}

/** What a component asks of its durable consumer and may be changed on one that exists, in the words of the broker's API. */
export type ConsumerSettings = Pick<ConsumerUpdateConfig, 'ack_wait' | 'max_deliver' | 'max_ack_pending'>;

export interface ConsumerWanted extends Durable {
  settings: ConsumerSettings;
}

/** What the broker shall hold: made before the first message, and before a sidecar subscribes. */
export interface BrokerWanted {
  streams: StreamWanted[];
  consumers: ConsumerWanted[];
}

/** Reads the generated list, `components/brokers/<broker>-streams.generated.yaml`. */
export function readBrokerWanted<Wanted = BrokerWanted>(file: string): Wanted {
  return parse(readFileSync(file, 'utf8')) as Wanted;
}

/**
 * Runs `work` on a connection of its own. One that is kept would be closed for good when the broker refuses its login
 * twice, and this is asked every few seconds only.
 */
export async function withBroker<T>(url: string, work: (jsm: JetStreamManager) => Promise<T>): Promise<T> {
  const { protocol, username, password, host } = new URL(url);
  const connection = await connect({
    servers: host,
    user: decodeURIComponent(username),
    pass: decodeURIComponent(password),
    // A server that asks for TLS gets it in any case; this refuses one that does not.
    ...(protocol === 'tls:' ? { tls: {} } : {}),
    reconnect: false,
    timeout: 2_000,
    name: 'runner',
  });
  try {
    return await work(await jetstreamManager(connection, { timeout: 2_000, checkAPI: false }));
  } finally {
    await connection.close();
  }
}

/**
 * Makes the streams that are missing and brings the others to their wanted configuration. Returns the names of those it made.
 * @param onMade done right after a stream is made, before a sidecar that waits for it tries again.
 */
export async function ensureStreams(
  url: string,
  wanted: StreamWanted[],
  onMade: (jsm: JetStreamManager, stream: string) => Promise<void> = async () => {},
): Promise<string[]> {
  return withBroker(url, async (jsm) => {
    const made: string[] = [];
    for (const stream of wanted) {
      if (await exists(() => jsm.streams.info(stream.name))) await jsm.streams.update(stream.name, stream);
      else {
        await jsm.streams.add(stream);
        await onMade(jsm, stream.name);
        made.push(stream.name);
      }
    }
    return made;
  });
}

/** What of the wanted is on the broker now. `bound` consumers have a subscriber. */
export interface BrokerState {
  streams: Set<string>;
  consumers: Map<string, { bound: boolean }>;
}

/** Looks up streams and durable consumers by name. */
export async function brokerState(url: string, streams: string[], durables: Durable[]): Promise<BrokerState> {
  return withBroker(url, async (jsm) => {
    const state: BrokerState = { streams: new Set(), consumers: new Map() };
    for (const name of streams) if (await exists(() => jsm.streams.info(name))) state.streams.add(name);
    for (const durable of durables) {
      const info = await findConsumer(jsm, durable);
      if (info) state.consumers.set(durable.name, { bound: info.push_bound === true });
    }
    return state;
  });
}

/** The durable consumer as the broker has it, or nothing. */
export function findConsumer(
  jsm: JetStreamManager,
  { stream, name }: Pick<Durable, 'stream' | 'name'>,
): Promise<ConsumerInfo | undefined> {
  return exists(() => jsm.consumers.info(stream, name));
}

const NOT_FOUND = new Set([10014 /* consumer */, 10059 /* stream */]);

async function exists<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (err) {
    if (NOT_FOUND.has((err as { code?: number }).code ?? 0)) return undefined;
    throw err;
  }
}
