import type { Catalog } from '@sidecart/contracts/catalog';
import type { z } from 'zod';
import { jsonSchema, messagesOf, messagesToItself } from './contracts.ts';
import { header, type Output } from './output.ts';
import type { ProblemsByOwner } from './problems.ts';
import {
  type Call,
  type External,
  externalSecret,
  type Service,
  secretsOf,
  type Topic,
  type Topology,
} from './topology.ts';

/** docs/events.md: what each topic carries, for those who write a sender or a reader. */
export function eventsDocument(topology: Topology): Output {
  return document('docs/events.md', 'topology.yaml and packages/contracts/src', [
    '# Events and commands',
    '',
    'A fact says what happened; anybody whom the table lets may read it. A command asks one service to do something.',
    'Every message is a CloudEvent ([envelope](../packages/contracts/schemas/Envelope.json)); its `type` is the name below.',
    'Messages of one sender, topic and key are published in the order in which they were written. They may arrive',
    'twice and out of order: readers go by `id` and `sequence`. There is a [sample](../packages/contracts/samples) of',
    'each, and an [AsyncAPI document](../packages/contracts/asyncapi.yaml) over all that a broker carries.',
    ...topology.topics.flatMap(topicSection),
    ...topology.services.flatMap(({ name }) => ownSection(name)),
  ]);
}

function topicSection(topic: Topic): string[] {
  return [
    '',
    `## ${topic.name}`,
    '',
    topic.kind === 'fact'
      ? `Facts of **${topic.owner}**, read by ${list(topic.consumers)}.`
      : `Commands to **${topic.owner}**, sent by ${list(topic.publishers)}.`,
    ...messageTable(messagesOf(topic.name)),
  ];
}

function ownSection(service: string): string[] {
  const messages = messagesToItself(service);
  if (messages.length === 0) return [];
  return [
    '',
    `## ${service} to itself`,
    '',
    `Commands of **${service}** to itself (topic \`self\`). No broker carries them, and nobody else can send or read them.`,
    ...messageTable(messages),
  ];
}

function messageTable(messages: [type: string, message: Catalog[keyof Catalog]][]): string[] {
  return [
    '',
    '| type | meaning | key | fields |',
    '|---|---|---|---|',
    ...messages.map(([type, { schema, key }]) =>
      row([
        `[${type}](../packages/contracts/schemas/${type}.json)`,
        schema.meta()?.description ?? '',
        `\`${keyField(key)}\``,
        fields(type, schema),
      ]),
    ),
  ];
}

/** Which field the key function reads. */
function keyField(key: (data: never) => string): string {
  const read: string[] = [];
  key(new Proxy({}, { get: (_, name) => read.push(String(name)) }) as never);
  return read.join('+');
}

interface FieldSchema {
  $ref?: string;
  type?: string;
  items?: FieldSchema;
  properties?: Record<string, FieldSchema>;
  required?: string[];
}

function fields(type: string, schema: z.ZodType): string {
  return fieldList(jsonSchema(type, schema) as FieldSchema);
}

function fieldList({ properties = {}, required = [] }: FieldSchema): string {
  return Object.entries(properties)
    .map(([name, field]) => `${name}${required.includes(name) ? '' : '?'}: ${fieldType(field)}`)
    .join(', ');
}

function fieldType(field: FieldSchema): string {
  if (field.$ref) return field.$ref.replace('#/$defs/', '');
  if (field.items) return `${fieldType(field.items)}[]`;
  return field.properties ? `{ ${fieldList(field)} }` : (field.type ?? 'any');
}

/** docs/topology.md: who runs where, who talks to whom, and what each may do. */
export function topologyDocument(topology: Topology): Output {
  return document('docs/topology.md', 'topology.yaml', [
    '# Topology',
    '',
    '```mermaid',
    ...picture(topology),
    '```',
    '',
    'Solid arrows are calls that wait for an answer, dotted ones messages: through a topic, or to the service itself without a broker.',
    'A dotted arrow that says so is the call by which a receiver fetches from a sender what never came.',
    ...(topology.externals.length > 0 ? ['Hexagons are HTTP APIs of others.'] : []),
    '',
    '## Services',
    '',
    '| service | port | replicas | database | answers the outside |',
    '|---|---|---|---|---|',
    ...topology.services.map((service) =>
      row([
        service.name,
        String(service.port),
        String(service.replicas),
        service.database ? `\`${service.name}\`` : '',
        service.edge ? 'yes' : '',
      ]),
    ),
    '',
    '## What each service may do',
    '',
    'Everything else is refused: by the sidecar, the broker component, the secret store or PostgreSQL.',
    '',
    '| service | calls | publishes to | reads | secrets |',
    '|---|---|---|---|---|',
    ...topology.services.map((service) => row(permissions(service, topology))),
    '',
    '## Calls',
    '',
    'Receivers ask the senders of their topics what was sent (`/sent/...`), to find what never came.',
    '',
    '| caller | callee | waits at most | operations |',
    '|---|---|---|---|',
    ...topology.calls.map(callRow),
    ...outside(topology),
    '',
    '## Topics',
    '',
    '| topic | kind | from | to | components |',
    '|---|---|---|---|---|',
    ...topology.topics.map(({ name, kind, publishers, consumers, components }) =>
      row([name, kind, list(publishers), list(consumers), components.map((c) => `\`${c.name}\``).join(' ')]),
    ),
  ]);
}

function picture(topology: Topology): string[] {
  // One for each pair, whatever is asked.
  const calls = new Set(
    topology.calls.map(({ caller, callee, repairs }) =>
      repairs === undefined
        ? `  ${caller} --> ${callee}`
        : `  ${caller} -. "fetches what it misses" .-> ${callee}`,
    ),
  );
  return [
    'flowchart LR',
    '  client([client])',
    ...topology.services.map(({ name, database }) =>
      database ? `  ${name}[(${name})]` : `  ${name}[${name}]`,
    ),
    ...topology.topics.map(({ stream, name }) => `  topic-${stream}>${name}]`),
    ...topology.externals.map(({ name }) => `  ${name}{{${name}}}`),
    `  client --> ${topology.edge}`,
    ...calls,
    ...topology.services
      .filter(({ name }) => messagesToItself(name).length > 0)
      .map(({ name }) => `  ${name} -.-> ${name}`),
    ...topology.externals.flatMap(({ name, users, webhooks }) => [
      ...users.map((user) => `  ${user} --> ${name}`),
      ...(webhooks ? [`  ${name} --> ${topology.edge}`] : []),
    ]),
    ...topology.topics.flatMap(({ stream, publishers, consumers }) => [
      ...publishers.map((app) => `  ${app} -.-> topic-${stream}`),
      ...consumers.map((app) => `  topic-${stream} -.-> ${app}`),
    ]),
  ];
}

function permissions(service: Service, topology: Topology): string[] {
  const callees = topology.calls.filter(({ caller }) => caller === service.name).map(({ callee }) => callee);
  const externals = topology.externals.filter(({ users }) => users.includes(service.name));
  const names = (matches: (topic: Topic) => boolean) =>
    topology.topics.filter(matches).map(({ name }) => `\`${name}\``);
  return [
    service.name,
    [...new Set([...callees, ...externals.map(({ name }) => name)])].join(', '),
    names(({ publishers }) => publishers.includes(service.name)).join(' '),
    names(({ consumers }) => consumers.includes(service.name)).join(' '),
    secretsOf(service.name, topology)
      .map((name) => `\`${name}\``)
      .join(' '),
  ];
}

function outside({ externals }: Topology): string[] {
  if (externals.length === 0) return [];
  return [
    '',
    '## Outside',
    '',
    'HTTP APIs of others, each behind a Dapr HTTPEndpoint of its name that only the sidecars of those who call it load.',
    '',
    '| API | called by | an attempt takes at most | attempts | secrets | calls back | address |',
    '|---|---|---|---|---|---|---|',
    ...externals.map(externalRow),
  ];
}

function externalRow({
  name,
  users,
  timeoutMs,
  retries,
  secret,
  webhooks,
  baseUrl,
  simulatorPort,
}: External) {
  return row([
    name,
    users.join(', '),
    `${timeoutMs} ms`,
    String(retries + 1),
    users.flatMap((user) => secret.map((key) => `\`${externalSecret(user, name)}\` \`${key}\``)).join('<br>'),
    webhooks ? `\`${webhooks.operation.method} ${webhooks.operation.path}\`` : '',
    simulatorPort === undefined
      ? `\`${baseUrl}\``
      : `of the simulator, port ${simulatorPort}; in production its own`,
  ]);
}

function callRow({ caller, callee, timeoutMs, operations }: Call): string {
  const list = operations.map(({ method, path }) => `\`${method} ${path}\``).join('<br>');
  return row([caller, callee, `${timeoutMs} ms`, list]);
}

/** docs/problems.md: every problem code with its cure. */
export function problemsDocument(problems: ProblemsByOwner): Output {
  return document('docs/problems.md', 'packages/kit and services/*/src/problems.ts', [
    '# Problems',
    '',
    'A request that fails is answered with a problem document (RFC 9457, `application/problem+json`). Its `code` is',
    'stable and what a program should look at; `errors` names every place at fault; `trace_id` finds the log lines.',
    'The gateway serves each of these under `/problems/<code>`.',
    ...problems.flatMap(({ owner, definitions }) => [
      '',
      `## ${owner}`,
      '',
      '| code | status | meaning | cure |',
      '|---|---|---|---|',
      ...Object.entries(definitions).map(([code, { status, title, cure }]) =>
        row([`\`${code}\``, String(status), title, cure]),
      ),
    ]),
  ]);
}

function document(path: string, source: string, lines: string[]): Output {
  return { path, content: `${header(source, '<!-- ', ' -->')}\n${lines.join('\n')}\n` };
}

function row(cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function list(names: string[]): string {
  return names.length === 0 ? 'nobody yet' : names.join(', ');
}
