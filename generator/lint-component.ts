import { milliseconds } from './duration.ts';
import type { LintContext, Resource } from './lint.ts';

interface MetadataEntry {
  name: string;
  value?: unknown;
  secretKeyRef?: unknown;
  envRef?: unknown;
}

/** Rules for a Component: what it holds, who loads it, and for a broker who may do what through it. */
export function lintComponent(component: Resource, context: LintContext): string[] {
  const metadata: MetadataEntry[] = component.spec.metadata ?? [];
  const faults: string[] = [];
  if (component.scopes.length === 0) {
    faults.push(`${component.name} has no scopes: every app would load it. List the apps that need it.`);
  }
  for (const entry of metadata) {
    if (entry.envRef) {
      faults.push(
        `${entry.name} is an envRef, which Kubernetes allows for few names only. Use secretKeyRef.`,
      );
    }
    if (
      /:\/\/[^/]*:[^/]*@|password|secret|token/i.test(`${entry.name}=${entry.value ?? ''}`) &&
      entry.value
    ) {
      faults.push(`${entry.name} has a secret in plain text. Use secretKeyRef.`);
    }
  }
  if (!String(component.spec.type).startsWith('pubsub.')) return faults;
  const value = (name: string) => {
    const entry = metadata.find((candidate) => candidate.name === name);
    return entry?.value === undefined ? undefined : String(entry.value);
  };
  return [...faults, ...topicFaults(component, value, context), ...brokerFaults(component, value)];
}

type Value = (name: string) => string | undefined;

/** Dapr opens a topic to each app that it does not find listed, so everything has to be listed. */
function topicFaults(component: Resource, value: Value, { topology }: LintContext): string[] {
  const topic = topology.topics.find(({ components }) =>
    components.some(({ name }) => name === component.name),
  );
  if (!topic) return [`${component.name} is the component of no topic in topology.yaml. Remove it.`];
  const faults: string[] = [];
  const table = topic.components.find(({ name }) => name === component.name)?.scopes ?? [];
  for (const app of component.scopes.filter((scope) => !table.includes(scope))) {
    faults.push(
      `${app} loads ${component.name}, but topology.yaml gives it no part in ${topic.name}. Take it out of the scopes.`,
    );
  }

  const allowed = topicList(value('allowedTopics'));
  const open = topicList(value('protectedTopics'));
  if (allowed.length === 0)
    faults.push('allowedTopics is missing: any other topic could be used. List the topics.');
  for (const name of allowed.filter((candidate) => !open.includes(candidate))) {
    faults.push(`${name} is not in protectedTopics: an app that is listed nowhere could use it. Add it.`);
  }

  const may = { publishingScopes: topic.publishers, subscriptionScopes: topic.consumers };
  for (const [field, apps] of Object.entries(may)) {
    const grants = grantsOf(value(field));
    for (const app of component.scopes.filter((scope) => !grants.has(scope))) {
      faults.push(`${app} is not in ${field}: Dapr would let it use every topic. Add "${app}=".`);
    }
    for (const [app, topics] of grants) {
      if (!topics.includes(topic.name) || apps.includes(app)) continue;
      const verb = field === 'publishingScopes' ? 'publish to' : 'read';
      faults.push(`${field} lets ${app} ${verb} ${topic.name}, which topology.yaml does not. Take it out.`);
    }
  }
  return faults;
}

function brokerFaults(component: Resource, value: Value): string[] {
  switch (component.spec.type) {
    case 'pubsub.jetstream':
      return jetstreamFaults(value);
    case 'pubsub.redis':
      return redisFaults(value);
    default:
      return [];
  }
}

/** What a component may ask of its durable consumer, beside what platform and the runner make it with. */
const OF_THE_CONSUMER = [
  'startSequence',
  'startTime',
  'deliverPolicy',
  'ackPolicy',
  'flowControl',
  'backOff',
  'replicas',
  'memoryStorage',
  'rateLimit',
  'heartbeat',
];

function jetstreamFaults(value: Value): string[] {
  const faults = missing(value, {
    durableName: 'every restart would read the whole stream again',
    queueGroupName: 'a second replica could not subscribe',
    concurrency: 'the default may change; write single',
    ackWait: 'a failed message would come back at once, for ever',
    maxDeliver: 'a long outage must not give messages up; write -1',
  });
  if (value('concurrency') === 'parallel') {
    faults.push(
      'concurrency is parallel: JetStream then acknowledges before the app has answered, and a failed delivery is lost. Use single, and lanes for speed.',
    );
  }
  if (value('maxDeliver') !== undefined && value('maxDeliver') !== '-1') {
    faults.push('maxDeliver is limited: after it a message rests where nobody looks. Use -1.');
  }
  if (value('queueGroupName') !== value('durableName')) {
    faults.push('queueGroupName is not as durableName: the consumer is made with one name for both.');
  }
  for (const name of OF_THE_CONSUMER.filter((setting) => value(setting) !== undefined)) {
    faults.push(
      `${name} is not among what the consumer is made with, and a sidecar that asks for it finds "consumer name already in use". Remove it, or add it in platform/consumers.ts.`,
    );
  }
  return faults;
}

/** How long attempts must go on is in lint-resiliency.ts. */
function redisFaults(value: Value): string[] {
  const faults = missing(value, {
    consumerID: 'the default is one group for all topics of an app; name app and topic',
    concurrency: 'the default may change, and it is how many deliveries an app gets at once',
    queueDepth: 'the default of 100 reads far more ahead than is handled before it counts as failed',
    processingTimeout: 'the documented default is not the real one',
    redeliverInterval: 'the documented default is not the real one',
    readTimeout: 'a read would wait for ever for a server that vanished without a word',
    streamTTL: 'a stream would grow for ever, in memory',
  });
  const interval = value('redeliverInterval');
  if (interval !== undefined && !/^[1-9][0-9]*$/.test(interval)) {
    faults.push(
      `redeliverInterval is ${interval}: 0 switches it off, and with a unit the component passes over it and takes 15 s. Write milliseconds, such as 15000.`,
    );
  }
  for (const name of ['processingTimeout', 'readTimeout', 'streamTTL']) {
    const text = value(name);
    if (text === undefined || (milliseconds(text) ?? 0) > 0) continue;
    faults.push(
      `${name} is ${text}: 0 switches it off, and without a unit it is read in milliseconds. Write a duration such as 10s.`,
    );
  }
  if (value('maxLenApprox') !== undefined) {
    faults.push(
      'maxLenApprox cuts a stream off at a length, read or not, and switches streamTTL off: a burst would drop what nobody has read. Remove it.',
    );
  }
  if (value('insecureSkipTLSVerify') === 'true') {
    faults.push('insecureSkipTLSVerify hands the password to whoever answers. Remove it.');
  }
  return faults;
}

/** By name, with what happens without it. */
function missing(value: Value, required: Record<string, string>): string[] {
  return Object.entries(required)
    .filter(([name]) => value(name) === undefined)
    .map(([name, reason]) => `${name} is missing: ${reason}.`);
}

function topicList(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((topic) => topic.trim())
    .filter(Boolean);
}

/** `a=x,y;b=` as a -> [x, y], b -> []. */
function grantsOf(text: string | undefined): Map<string, string[]> {
  const grants = (text ?? '').split(';').filter((part) => part.includes('='));
  return new Map(
    grants.map((part) => {
      const [app = '', topics = ''] = part.split('=');
      return [app.trim(), topicList(topics)];
    }),
  );
}
