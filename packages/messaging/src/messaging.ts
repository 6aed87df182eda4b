import type { Dapr } from '@sidecart/kit/dapr';
import type { Database } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import { createBrokerWatch } from './broker-watch.ts';
import { createHousekeeping } from './housekeeping.ts';
import { createOutbox, type MessageType, type Outbox } from './outbox.ts';
import { createRelay } from './relay.ts';

export interface MessagingOptions<C extends Record<string, MessageType>> {
  service: string;
  catalog: C;
  /** The service's row of the topology: what it may publish, through which component, and all its components. */
  topology: { publish: Readonly<Record<string, string>>; components: readonly string[] };
  dapr: Dapr;
  database: Database;
  log: Logger;
  metrics: Metrics;
  health: Health;
}

/**
 * The sending side of a service, put together: the outbox to write to, and the workers that make its messages
 * arrive. The same for every service, so that none forgets a part.
 *
 * @example
 * const { outbox, workers } = createMessaging({ ...base, service: 'orders', catalog, topology: TOPOLOGY.orders });
 */
export function createMessaging<C extends Record<string, MessageType>>(
  o: MessagingOptions<C>,
): { outbox: Outbox<C>; workers: Worker[] } {
  const { publish, components } = o.topology;
  const relay = createRelay({
    ...o,
    url: o.database.url,
    applicationName: o.database.applicationName,
    publish: async (topic, event) => {
      const component = publish[topic];
      if (component === undefined)
        throw new Error(`The topology gives ${o.service} no component for ${topic}`);
      await o.dapr.publish(component, topic, event);
    },
  });
  o.database.onCommit(relay.nudge);
  const outbox = createOutbox({ ...o, owns: Object.keys(publish) });
  return { outbox, workers: [relay, createBrokerWatch({ ...o, components }), createHousekeeping(o)] };
}
