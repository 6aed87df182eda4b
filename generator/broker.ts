import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { LineCounter, parse, parseDocument } from 'yaml';
import { z } from 'zod';
import { ShopError } from '../local/shop-error.ts';
import { milliseconds } from './duration.ts';
import { header, type Output, yamlFile } from './output.ts';
import { PROBE_TOPIC, type Topic, type Topology } from './topology.ts';

const direction = z.strictObject({ timeout: z.string(), retry: z.string().optional() });

const resiliency = z.strictObject({
  policies: z.strictObject({
    timeouts: z.record(z.string(), z.string()),
    retries: z.record(z.string(), z.looseObject({})),
  }),
  target: z.strictObject({ inbound: direction, outbound: direction }),
});

const component = z.looseObject({
  spec: z.looseObject({
    metadata: z.array(z.looseObject({ name: z.string(), value: z.unknown().optional() })),
  }),
});

/** What a template in components/brokers/ says. */
export interface Broker {
  name: string;
  /** Text of the Dapr component, with double braces to fill. */
  component: string;
  /** The broker's part of each app's Resiliency. */
  resiliency: z.infer<typeof resiliency>;
  /** Text of one stream's configuration, with double braces to fill; nothing but comments where the broker needs none. */
  stream: string;
}

const FOLDER = 'components/brokers';
const STREAMS = '-streams.generated.yaml';

/** What the broker shall hold, as it is generated beside the broker's template. */
export const streamsFile = (broker: string) => `${FOLDER}/${broker}${STREAMS}`;

/** The brokers whose list of streams is there: one, unless something was left over. */
export const brokersGenerated = (root: string) => filesOf(root, (name) => name.endsWith(STREAMS), STREAMS);

/** The brokers of which there is a template. */
export const brokerTemplates = (root: string) =>
  filesOf(root, (name) => name.endsWith('.yaml') && !name.includes('.generated.'), '.yaml');

function filesOf(root: string, isMeant: (name: string) => boolean, ending: string): string[] {
  return readdirSync(join(root, FOLDER))
    .filter(isMeant)
    .map((name) => basename(name, ending));
}

/**
 * Reads components/brokers/<name>.yaml.
 * @throws ShopError when there is no such template, or with what is wrong in it and where.
 */
export function loadBroker(root: string, name: string): Broker {
  const file = `${FOLDER}/${name}.yaml`;
  const templates = brokerTemplates(root);
  if (!templates.includes(name))
    throw new ShopError(
      `topology.yaml, broker: there is no ${file}`,
      `name one of ${templates.join(', ')}, or write that template (docs/brokers.md)`,
    );
  return parseBroker(name, readFileSync(join(root, file), 'utf8'));
}

/** As loadBroker, from the text of the template. */
export function parseBroker(name: string, text: string): Broker {
  const parts = text.split(/^---\n/m);
  const [first, policies, stream] = parts;
  if (first === undefined || policies === undefined || stream === undefined || parts.length > 3)
    throw templateFault(name, `: ${parts.length} part(s), where three are expected between lines of ---`);
  parts.forEach((part, n) => {
    const linesBefore = parts.slice(0, n).join('---\n').split('\n').length - 1 + Math.min(n, 1);
    const lines = new LineCounter();
    const [error] = parseDocument(unfilled(part), { lineCounter: lines, prettyErrors: false }).errors;
    if (error)
      throw templateFault(
        name,
        `, line ${linesBefore + lines.linePos(error.pos[0]).line}: no valid YAML: ${error.message}`,
      );
  });
  const shape = component.safeParse(parse(unfilled(first)));
  if (!shape.success) throw templateFault(name, `, part 1: ${z.prettifyError(shape.error)}`);
  const parsed = resiliency.safeParse(parse(policies));
  if (!parsed.success) throw templateFault(name, `, part 2: ${z.prettifyError(parsed.error)}`);
  return { name, component: withoutLeadingComment(first), resiliency: parsed.data, stream };
}

function templateFault(name: string, fault: string): ShopError {
  return new ShopError(
    `${FOLDER}/${name}.yaml${fault}`,
    'correct it there (docs/brokers.md says what it holds), then npm run generate',
  );
}

/** components/pubsub-*.yaml, their kustomization, and the streams for the step that makes them. */
export function brokerOutputs(topology: Topology, broker: Broker): Output[] {
  const source = `topology.yaml and components/brokers/${broker.name}.yaml`;
  const components = topology.topics.flatMap((topic) =>
    topic.components.map(({ name, scopes }, lane) => ({
      path: `components/${name}.yaml`,
      content: header(source) + fill(broker, 'component', componentValues(topic, { name, scopes, lane })),
    })),
  );
  const streamOf = ({ stream, name }: Topic): { name?: string } | null =>
    parse(fill(broker, 'stream', { stream, topic: name }));
  const streams = topology.topics.map(streamOf).filter((stream) => stream !== null);
  const settings = consumerSettings(broker);
  const consumers = topology.topics.flatMap((topic) =>
    topic.consumers.map((app) => ({
      app,
      topic: topic.name,
      stream: streamOf(topic)?.name ?? topic.stream,
      name: `${app}-${topic.stream}`,
      settings,
    })),
  );
  return [
    ...components,
    {
      path: 'components/kustomization.yaml',
      content: yamlFile('topology.yaml', [
        {
          comment:
            'For kustomize. Sidecars that read this folder skip it, as they skip every kind they do not know.',
          value: {
            apiVersion: 'kustomize.config.k8s.io/v1beta1',
            kind: 'Kustomization',
            resources: components.map(({ path }) => path.replace('components/', '')).sort(),
            // What platform keeps the broker to. Its name has a hash of its content: other settings make a new pod of platform.
            configMapGenerator: [
              {
                name: 'streams',
                files: [`streams.yaml=${streamsFile(broker.name).replace('components/', '')}`],
                options: {
                  labels: { 'app.kubernetes.io/name': 'platform', 'app.kubernetes.io/part-of': 'sidecart' },
                },
              },
            ],
          },
        },
      ]),
    },
    {
      path: streamsFile(broker.name),
      content: yamlFile(source, [
        {
          comment: `The streams to keep, each in the words of the template, and the durable consumers that the sidecars subscribe to:
            one per app and topic, shared by lanes and replicas, with what the component asks of it.`,
          value: { streams, consumers },
        },
      ]),
    },
  ];
}

function componentValues(
  topic: Topic,
  { name, scopes, lane }: { name: string; scopes: string[]; lane: number },
) {
  // Only the first lane is for publishing; an app without any topic is named too, because Dapr opens to it
  // whatever it does not find listed.
  const publishers = lane === 0 ? topic.publishers : [];
  const grant = (app: string, topics: string[]) => `${app}=${topics.join(',')}`;
  return {
    component: name,
    stream: topic.stream,
    topic: topic.name,
    allowedTopics: `${topic.name},${PROBE_TOPIC}`,
    publishingScopes: scopes
      .map((app) => grant(app, publishers.includes(app) ? [topic.name, PROBE_TOPIC] : [PROBE_TOPIC]))
      .join(';'),
    subscriptionScopes: scopes
      .map((app) => grant(app, topic.consumers.includes(app) ? [topic.name] : []))
      .join(';'),
    scopes: `[${scopes.join(', ')}]`,
  };
}

/** A template's part with a word in place of every hole, so that it can be read as YAML. */
export function unfilled(text: string): string {
  return text.replaceAll(/\{\{[^}]*\}\}/g, 'any');
}

/** What a JetStream component asks of its durable consumer, in the words of the broker's API (times in nanoseconds). */
function consumerSettings(broker: Broker) {
  const { spec } = component.parse(parse(unfilled(broker.component)));
  const value = (name: string) => {
    const found = spec.metadata.find((entry) => entry.name === name)?.value;
    return found === undefined ? undefined : String(found);
  };
  const [ackWait, maxDeliver, maxAckPending] = ['ackWait', 'maxDeliver', 'maxAckPending'].map(value);
  const patience = ackWait === undefined ? undefined : milliseconds(ackWait);
  if (ackWait !== undefined && patience === undefined)
    throw templateFault(broker.name, `, part 1: ackWait ${ackWait} is no duration such as 20s or 1m30s`);
  return {
    ...(patience === undefined ? {} : { ack_wait: patience * 1e6 }),
    ...(maxDeliver === undefined ? {} : { max_deliver: Number(maxDeliver) }),
    ...(maxAckPending === undefined ? {} : { max_ack_pending: Number(maxAckPending) }),
  };
}

/** Replaces `{{name}}` by its value. Throws for a name that has none: a template must not keep a hole. */
function fill(broker: Broker, part: 'component' | 'stream', values: Record<string, string>): string {
  return broker[part].replaceAll(/\{\{([^}]*)\}\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined)
      throw templateFault(
        broker.name,
        `: {{${name}}} is not known in its ${part}; known are ${Object.keys(values).join(', ')}`,
      );
    return value;
  });
}

/** What explains the whole template is of no use in a single component. */
function withoutLeadingComment(text: string): string {
  return text.slice(text.search(/^[^#\s]/m));
}
