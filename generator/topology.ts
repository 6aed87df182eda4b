import { existsSync, readFileSync } from 'node:fs';
import { isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { ShopError } from '../local/shop-error.ts';
import { crossFaults, offers } from './topology-faults.ts';
import {
  type ExternalRow,
  type Operation,
  type ServiceRow,
  type TopologyTable,
  topologySchema,
} from './topology-schema.ts';

/** Secrets come from the store of this name: Kubernetes' own there, a local file here. */
export const SECRET_STORE = 'kubernetes';

/** Each app publishes to it now and then: the answer `no stream` shows that the broker connection lives. */
export const PROBE_TOPIC = 'probe';

export interface Topic {
  /** `orders`, or `commands.inventory`. */
  name: string;
  /** The name with its dots as hyphens: NATS refuses dots in the names of streams and consumers. */
  stream: string;
  kind: 'fact' | 'command';
  /** Who publishes the facts, or who takes the commands. */
  owner: string;
  publishers: string[];
  consumers: string[];
  /** One Dapr component per lane. The first is the one to publish to. */
  components: { name: string; scopes: string[] }[];
}

export interface Call {
  caller: string;
  callee: string;
  timeoutMs: number;
  operations: Operation[];
  /** The caller is the edge, passing on what clients send. */
  forwarded: boolean;
  /** The topic of which a receiver asks the sender what it has sent; for calls of no other kind. */
  repairs?: string;
}

export interface Service extends ServiceRow {
  name: string;
}

/** An HTTP API of somebody else. */
export interface External {
  name: string;
  users: string[];
  /** Of one attempt. */
  timeoutMs: number;
  retries: number;
  /** Keys of the Secret that each user has for it. */
  secret: string[];
  /** Where it is, unless the place of running says otherwise. */
  baseUrl: string;
  webhooks?: { service: string; operation: Operation; headers: string[] };
  /** The port of what stands in for it. */
  simulatorPort?: number;
}

export interface Topology {
  namespace: string;
  broker: string;
  services: Service[];
  edge: string;
  topics: Topic[];
  calls: Call[];
  externals: External[];
}

/** The Secret that a service has for an external API. */
export const externalSecret = (user: string, external: string) => `${user}-${external}`;

/** The Secrets that an app may read through its sidecar. */
export function secretsOf(app: string, { services, externals }: Topology): string[] {
  const database = services.find(({ name }) => name === app)?.database;
  return [
    ...(database ? [`${app}-db`] : []),
    ...externals
      .filter(({ users, secret }) => users.includes(app) && secret.length > 0)
      .map(({ name }) => externalSecret(app, name)),
  ];
}

/** Between two attempts of a sidecar at an external API, in ms. */
export const EXTERNAL_PAUSE_MS = 200;

/** How long an external API is waited for at most, all attempts of the sidecar together and some, in ms. */
export function patienceWith({ timeoutMs, retries }: External): number {
  return (retries + 1) * timeoutMs + retries * EXTERNAL_PAUSE_MS + 500;
}

/** A slip of the pen in the table: every command reads it, and tells it as anything else that its user can cure. */
export class TopologyError extends ShopError {
  readonly faults: string[];

  constructor(faults: string[]) {
    super(
      `topology.yaml has ${faults.length} fault(s):\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
      'correct topology.yaml where it says so, then `npm run generate`',
    );
    this.name = 'TopologyError';
    this.faults = faults;
  }
}

/**
 * Reads and checks the table. Throws ShopError when it is not there, and TopologyError with the faults, each with its line and its cure:
 * all of the YAML; without one of those, all of the shape of rows; without one of those, all between rows.
 */
export function loadTopology(file: string): Topology {
  if (!existsSync(file))
    throw new ShopError(`there is no ${file}`, 'work in a checkout of the project that is whole');
  return parseTopology(readFileSync(file, 'utf8'));
}

/** As loadTopology, from the text of the table. */
export function parseTopology(text: string): Topology {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  if (document.errors.length > 0) {
    throw new TopologyError(
      document.errors.map(
        (error) => `line ${lines.linePos(error.pos[0]).line}: no valid YAML: ${error.message}`,
      ),
    );
  }
  /** Where it is written: of a field its name, of which what it has may be on the lines below. */
  const nodeAt = (path: PropertyKey[]) => {
    const parent = path.length > 0 ? document.getIn(path.slice(0, -1), true) : undefined;
    const field = isMap(parent) && parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1));
    return field ? field.key : document.getIn(path, true);
  };
  const place = (path: PropertyKey[]) => {
    for (let length = path.length; length >= 0; length -= 1) {
      const node = nodeAt(path.slice(0, length));
      if (isNode(node) && node.range) return `line ${lines.linePos(node.range[0]).line}: ${path.join('.')}`;
    }
    return path.join('.');
  };

  const parsed = topologySchema.safeParse(document.toJS() ?? {}, { error: missing });
  if (!parsed.success) {
    throw new TopologyError(parsed.error.issues.map((issue) => `${place(pathOf(issue))}: ${cure(issue)}.`));
  }
  const faults = crossFaults(parsed.data).map(({ path, message }) => `${place(path)}: ${message}`);
  if (faults.length > 0) throw new TopologyError(faults);
  return derive(parsed.data);
}

/** Of what the schema has no words for. */
function missing(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code !== 'invalid_type' || issue.input !== undefined) return undefined;
  return `Is missing; write a value of type ${issue.expected} here`;
}

/** A field that is not known is where it is, and not where the row begins. */
const pathOf = (issue: z.core.$ZodIssue): PropertyKey[] =>
  issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] as string] : issue.path;

function cure(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key') return issue.issues.map(({ message }) => message).join('; ');
  if (issue.code !== 'unrecognized_keys') return issue.message;
  return `${issue.keys.join(', ')} is not known here; correct or remove it (generator/topology-schema.ts lists what is)`;
}

/** How long the messaging package waits for a sender's answer, in ms. */
const REPAIR_MS = 2000;

function derive(table: TopologyTable): Topology {
  const services = Object.entries(table.services).map(([name, row]) => ({ name, ...row }));
  const edge = services.find((service) => service.edge)?.name ?? '';
  const topics = services.flatMap((owner) => topicsOf(owner, services));
  return {
    namespace: table.namespace,
    broker: table.broker,
    services,
    edge,
    topics,
    calls: [...services.flatMap((caller) => callsOf(caller, services)), ...topics.flatMap(repairsOf)],
    externals: Object.entries(table.external).map(([name, row]) => externalOf(name, row, services)),
  };
}

function externalOf(name: string, row: ExternalRow, services: Service[]): External {
  const { webhooks, simulator } = row;
  const service = services.find(
    ({ name, ...own }) => row.used_by.includes(name) && webhooks && offers(own, webhooks.operation),
  );
  return {
    name,
    users: row.used_by,
    timeoutMs: row.timeout,
    retries: row.retries,
    secret: row.secret ?? [],
    baseUrl: row.url ?? `http://${name}:${simulator?.port}`,
    ...(webhooks && service && { webhooks: { service: service.name, ...webhooks } }),
    ...(simulator && { simulatorPort: simulator.port }),
  };
}

function topicsOf(owner: Service, services: Service[]): Topic[] {
  const named = (matches: (service: Service) => boolean | undefined) =>
    services.filter(matches).map((service) => service.name);
  return [
    ...(owner.topic
      ? [
          topic(owner.name, 'fact', owner, owner.topic.lanes, {
            publishers: [owner.name],
            consumers: named((service) => service.consumes?.includes(owner.name)),
          }),
        ]
      : []),
    ...(owner.commands
      ? [
          topic(`commands.${owner.name}`, 'command', owner, owner.commands.lanes, {
            publishers: named((service) => service.sends?.includes(owner.name)),
            consumers: [owner.name],
          }),
        ]
      : []),
  ];
}

function topic(
  name: string,
  kind: Topic['kind'],
  owner: Service,
  lanes: number,
  apps: { publishers: string[]; consumers: string[] },
): Topic {
  const stream = name.replaceAll('.', '-');
  const components = Array.from({ length: lanes }, (_, lane) => ({
    name: lanes === 1 ? `pubsub-${stream}` : `pubsub-${stream}-${lane}`,
    // Publishing uses the first lane only, so the others are no publisher's business.
    scopes: lane === 0 ? [...new Set([...apps.publishers, ...apps.consumers])] : apps.consumers,
  }));
  return { name, stream, kind, owner: owner.name, ...apps, components };
}

function callsOf(caller: Service, services: Service[]): Call[] {
  const forwarded = caller.edge
    ? services.flatMap((callee) =>
        callee.public
          ? [
              {
                caller: caller.name,
                callee: callee.name,
                timeoutMs: callee.public.timeout,
                operations: callee.public.operations,
                forwarded: true,
              },
            ]
          : [],
      )
    : [];
  const own = Object.entries(caller.invokes ?? {}).map(([callee, call]) => ({
    caller: caller.name,
    callee,
    timeoutMs: call.timeout,
    operations: call.operations,
    forwarded: false,
  }));
  return [...forwarded, ...own];
}

/** Whoever receives on a topic may ask each of its senders what was sent. */
function repairsOf({ name, publishers, consumers }: Topic): Call[] {
  return consumers.flatMap((caller) =>
    publishers
      .filter((callee) => callee !== caller)
      .map((callee) => ({
        caller,
        callee,
        timeoutMs: REPAIR_MS,
        operations: [{ method: 'POST', path: `/sent/${name}` }],
        forwarded: false,
        repairs: name,
      })),
  );
}
