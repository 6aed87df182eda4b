import type { Dapr } from '@sidecart/kit/dapr';
import type { Database } from '@sidecart/kit/db';
import type { Health } from '@sidecart/kit/health';
import type { Logger } from '@sidecart/kit/log';
import type { Metrics } from '@sidecart/kit/metrics';
import type { Worker } from '@sidecart/kit/service';
import { createBrokerWatch } from './broker-watch.ts';
import { createDelayedRelease } from './delayed.ts';
import type { Handler } from './handler.ts';
import { createHousekeeping } from './housekeeping.ts';
import { createLocalWorker } from './local-worker.ts';
import { createNudges } from './nudges.ts';
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
  /**
   * Handlers of the messages that this service sends to itself (topic `self`), by type. Those that write messages themselves
   * can be made from the outbox.
   */
  local?: Record<string, Handler> | ((outbox: Outbox<C>) => Record<string, Handler>);
}

/**
 * The sending side of a service, put together: the outbox to write to, and the workers that make its messages
 * arrive, those to itself included. The same for every service, so that none forgets a part. `local` are the handlers of
 * the messages to itself, for `mountMessages`.
 *
 * @example
 * const { outbox, workers } = createMessaging({ ...base, service: 'orders', catalog, topology: TOPOLOGY.orders });
 */
export function createMessaging<C extends Record<string, MessageType>>(
  o: MessagingOptions<C>,
): { outbox: Outbox<C>; workers: Worker[]; local: Record<string, Handler> } {
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
  let handlers: Record<string, Handler> = {};
  const nudges = createNudges();
  const outbox = createOutbox({
    ...o,
    owns: Object.keys(publish),
    handles: (type) => (Object.hasOwn(handlers, type) ? handlers[type] : undefined),
    onWrite: nudges.wrote,
  });
  handlers = (typeof o.local === 'function' ? o.local(outbox) : o.local) ?? {};
  const local = Object.keys(handlers).length > 0 ? createLocalWorker({ ...o, handlers }) : undefined;
  const delayed = createDelayedRelease({
    ...o,
    handlers,
    onReleased: () => {
      relay.nudge();
      local?.nudge();
    },
  });
  nudges.on('broker', relay.nudge);
  nudges.on('delayed', delayed.nudge);
  if (local) for (const target of ['local', 'unnumbered'] as const) nudges.on(target, local.nudge);
  o.database.onCommit(nudges.committed);
  return {
    outbox,
    local: handlers,
    workers: [
      relay,
      ...(local ? [local] : []),
      delayed,
      createBrokerWatch({ ...o, components }),
      createHousekeeping(o),
    ],
  };
}
