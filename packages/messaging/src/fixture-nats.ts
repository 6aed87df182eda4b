import type { JetStreamClient } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { CloudEvent } from './envelope.ts';

// Apart from the rest of the fixtures, as the relay processes of the tests load only this.

export function connectBroker(url: string, o: { reconnect?: boolean } = {}): Promise<NatsConnection> {
  const { host, username, password } = new URL(url);
  return connect({
    servers: host,
    user: username,
    pass: password,
    reconnectTimeWait: 50,
    maxReconnectAttempts: -1,
    timeout: 1000,
    ...o,
  });
}

/** Publishes as a sidecar does: the event's id is the message's, and only an acknowledgement is a success. */
export function publishTo(client: JetStreamClient): (topic: string, event: CloudEvent) => Promise<void> {
  return async (topic, event) => {
    await client.publish(topic, JSON.stringify(event), { msgID: event.id, timeout: 1000 });
  };
}
