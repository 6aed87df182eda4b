import { z } from 'zod';

/**
 * The shape of topology.yaml. What one row must say about another (does the service called exist?) is checked
 * in topology.ts, where both are at hand.
 */

const serviceName = z
  .string()
  .regex(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, 'Use lower-case letters, digits and single hyphens')
  .max(40)
  .refine(
    (name) =>
      !['commands', 'self', 'probe', 'shop', 'postgres', 'nats', 'redis', 'platform', 'external'].includes(
        name,
      ),
    'Choose another name: this one is taken',
  );

/** '800ms' or '3s', read as milliseconds. */
const duration = z
  .string('Write a duration such as 800ms or 3s')
  .regex(/^[1-9][0-9]*(ms|s)$/, 'Write a duration such as 800ms or 3s')
  .transform((text) => Number.parseInt(text, 10) * (text.endsWith('ms') ? 1 : 1000))
  .refine((ms) => ms <= 60_000, 'Choose 60s or less: a caller does not wait longer');

/** 'GET /v1/orders/{id}' as { method, path }. */
const operation = z
  .string('Write an operation such as GET /v1/orders/{id}')
  .regex(
    /^(GET|POST|PUT|PATCH|DELETE) \/v[0-9]+(\/([a-z][a-z0-9-]*|\{[a-z][a-z0-9_]*\}))+$/,
    'Write an operation such as GET /v1/orders/{id}: a verb, then a path that starts with its version',
  )
  .transform((text) => {
    const [method = '', path = ''] = text.split(' ');
    return { method, path };
  });

const operations = z.array(operation).min(1);

const topic = z.strictObject({
  /** How many sidecar subscriptions read the topic side by side in each consumer. */
  lanes: z.int().min(1).max(16),
});

/** Below 32768, where no connection of the machine's own ever sits. */
const port = z.int().min(1024).max(32767);

const service = z.strictObject({
  port,
  database: z.boolean(),
  replicas: z.int().min(1).max(100),
  /** The one service that answers the outside. */
  edge: z.literal(true).optional(),
  /** What the edge forwards to this service. */
  public: z.strictObject({ timeout: duration, operations }).optional(),
  /** The service publishes facts, on the topic named after it. */
  topic: topic.optional(),
  /** The service takes commands, on `commands.<its name>`. */
  commands: topic.optional(),
  /** Owners of the fact topics that this service reads. */
  consumes: z.array(serviceName).min(1).optional(),
  /** Takers of the commands that this service sends. */
  sends: z.array(serviceName).min(1).optional(),
  /** Calls to other services' operations, each with the time that the caller waits. */
  invokes: z.record(serviceName, z.strictObject({ timeout: duration, operations })).optional(),
});

const header = z
  .string()
  .regex(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, 'Write the name of a header in lower case, such as webhook-id');

/** An HTTP API of somebody else, reached through a Dapr HTTPEndpoint of its name. */
const external = z.strictObject({
  /** The services that call it; nobody else's sidecar knows it. */
  used_by: z.array(serviceName).min(1),
  /** How long one attempt may take. */
  timeout: duration,
  /**
   * How often a sidecar repeats a request that got no answer, or one of 502 to 504, GET or not. Only for an API that takes an
   * idempotency key with everything that changes something.
   */
  retries: z.int().min(0).max(3),
  /**
   * Keys of the Secret `<service>-<external>`, for each service that calls it. A `webhook_secret` is one of the Standard Webhooks
   * spec, every other a word that nobody can guess.
   */
  secret: z
    .array(z.string().regex(/^[a-z][a-z0-9_]*$/, 'Write a key such as api_key'))
    .min(1)
    .optional(),
  /** Where it calls back: a public operation of one that calls it, with the headers of its signature. */
  webhooks: z.strictObject({ operation, headers: z.array(header).min(1).max(8) }).optional(),
  /** Its address, where it is the same everywhere. */
  url: z
    .string()
    .regex(
      /^https:\/\/[^\s/?#]+(\/[^\s?#]*[^\s?#/])?$/,
      'Write an address such as https://api.example.com, without a / at its end',
    )
    .optional(),
  /**
   * Instead of an address: what stands in for it on a machine of development, the program in the folder of its name. The overlay for
   * production says the address there.
   */
  simulator: z.strictObject({ port }).optional(),
});

export const topologySchema = z.strictObject({
  namespace: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'Use lower-case letters, digits and hyphens')
    .max(63),
  /** A template in components/brokers/. */
  broker: z.string().regex(/^[a-z][a-z0-9-]*$/, 'Name a file of components/brokers/ without its .yaml'),
  services: z.record(serviceName, service),
  /** HTTP APIs of others. */
  external: z.record(serviceName, external).default({}),
});

export type TopologyTable = z.infer<typeof topologySchema>;
export type ServiceRow = TopologyTable['services'][string];
export type ExternalRow = TopologyTable['external'][string];
export type Operation = z.infer<typeof operation>;
