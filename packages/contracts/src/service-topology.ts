/** What the table says about one service, as its code needs it. The values are in topology.generated.ts. */
export interface ServiceTopology {
  readonly port: number;
  readonly database: boolean;
  readonly replicas: number;
  /** The fact topic that the service publishes to. */
  readonly owns?: string;
  /** The command queue that the service takes from. */
  readonly takes?: string;
  /** The command queues that the service sends to. */
  readonly sends: readonly string[];
  /** The fact topics that the service reads. */
  readonly consumes: readonly string[];
  /** Every topic that the service may publish to, with the Dapr component to publish through. */
  readonly publish: Readonly<Record<string, string>>;
  /** Every broker component that the service's sidecar loads. */
  readonly components: readonly string[];
  /** What the sidecar delivers, and the route in the app that it delivers to. */
  readonly subscriptions: readonly { topic: string; kind: 'fact' | 'command'; route: string }[];
  /** Who sends what the service receives: it asks them for what never came. */
  readonly senders: readonly { topic: string; sender: string }[];
  /** The calls that the service makes of its own accord, by service called. */
  readonly invokes: Readonly<Record<string, { timeoutMs: number; operations: readonly string[] }>>;
  /** The HTTP APIs of others that the service calls: how long to wait for one, and the Secret for it. */
  readonly externals: Readonly<Record<string, { timeoutMs: number; secret?: string }>>;
}

/** An operation that the gateway passes on. */
export interface PublicRoute {
  readonly method: string;
  /** With parameters in braces: `/v1/orders/{id}`. */
  readonly path: string;
  readonly service: string;
  /** How long the gateway waits for the answer. */
  readonly timeoutMs: number;
  /** Headers of the request that the service needs beside the usual ones, in lower case. */
  readonly headers?: readonly string[];
}
