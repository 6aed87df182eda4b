import { jetstreamBroker } from './jetstream-broker.ts';
import type { LocalBroker } from './local-broker.ts';
import { redisBroker } from './redis-broker.ts';
import { ShopError } from './shop-error.ts';

const BROKERS: Partial<Record<string, LocalBroker>> = { jetstream: jetstreamBroker, redis: redisBroker };

/**
 * The broker that the table names, on this machine.
 * @throws ShopError when local mode has none of that name.
 */
export function localBroker(name: string): LocalBroker {
  const broker = BROKERS[name];
  if (broker) return broker;
  throw new ShopError(
    `local mode cannot start the broker ${name}`,
    `name one of ${Object.keys(BROKERS).join(', ')} (broker: in topology.yaml, or --broker), or run on Kubernetes`,
  );
}
