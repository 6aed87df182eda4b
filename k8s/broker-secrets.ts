import { NATS_USER } from '../local/nats.ts';
import { REDIS_USER } from '../local/redis.ts';
import { ShopError } from '../local/shop-error.ts';

/** What the Secrets of one kind of broker hold. */
export interface BrokerSecrets {
  /** Name of the server in the cluster, and of its Secret. */
  server: string;
  /** What the server's own Secret holds beside `password`. */
  forServer(password: string): Record<string, string>;
  /** URL of the server in the cluster. */
  inCluster(password: string): string;
  /** What the Secret `broker` holds, which the Dapr components and `platform` read. */
  forSidecars(url: string): Record<string, string>;
  protocols: RegExp;
  /** How a URL of one outside looks. */
  example: string;
}

const BROKERS: Partial<Record<string, BrokerSecrets>> = {
  jetstream: {
    server: 'nats',
    forServer: (password) => ({ user: NATS_USER, 'auth.conf': authorization(password) }),
    inCluster: (password) => `nats://${NATS_USER}:${encodeURIComponent(password)}@nats:4222`,
    forSidecars: (url) => ({ url }),
    protocols: /^(nats|tls):$/,
    example: 'tls://user:password@nats.example.com:4222',
  },
  redis: {
    server: 'redis',
    forServer: (password) => ({ 'auth.conf': `requirepass ${JSON.stringify(password)}\n` }),
    inCluster: (password) => `redis://${REDIS_USER}:${encodeURIComponent(password)}@redis:6379`,
    forSidecars: redisParts,
    protocols: /^rediss?:$/,
    example: 'rediss://user:password@redis.example.com:6379',
  },
};

/** @throws ShopError for a broker of which this knows nothing. */
export function secretsOfBroker(name: string): BrokerSecrets {
  const broker = BROKERS[name];
  if (broker) return broker;
  throw new ShopError(
    `how the Secrets of the broker ${name} look is not known here`,
    `make the Secret broker by hand, as components/brokers/${name}.yaml reads it, or use one of ${Object.keys(BROKERS).join(', ')}`,
  );
}

/** The component of Redis takes no URL. */
function redisParts(url: string): Record<string, string> {
  const { protocol, hostname, port, username, password } = new URL(url);
  return {
    url,
    host: `${hostname}:${port || '6379'}`,
    username: decodeURIComponent(username) || REDIS_USER,
    password: decodeURIComponent(password),
    tls: String(protocol === 'rediss:'),
  };
}

/** A part of NATS' configuration: in an environment variable, digits at its start would make it a number. */
function authorization(password: string): string {
  return `authorization {\n  user: ${JSON.stringify(NATS_USER)}\n  password: ${JSON.stringify(password)}\n}\n`;
}
