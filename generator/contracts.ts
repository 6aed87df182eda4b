import { type Catalog, catalog } from '@sidecart/contracts/catalog';
import { Envelope } from '@sidecart/contracts/envelope';
import { z } from 'zod';
import { type Output, yamlFile } from './output.ts';
import type { Topology } from './topology.ts';

export const SCHEMA_FOLDER = 'packages/contracts/schemas';
const ASYNCAPI = 'packages/contracts/asyncapi.yaml';
const SOURCE = 'topology.yaml and packages/contracts/src';

/** The messages of one topic, by type. */
export function messagesOf(topic: string): [type: string, message: Catalog[keyof Catalog]][] {
  return Object.entries(catalog).filter(([, message]) => message.topic === topic);
}

/** What a service sends to itself, by type: messages of the topic `self`, which is in no row of the table. */
export function messagesToItself(service: string): [type: string, message: Catalog[keyof Catalog]][] {
  return Object.entries(catalog).filter(([, message]) => 'service' in message && message.service === service);
}

/** What is wrong between the catalogue and the table: a message without a topic, a topic without a message. */
export function catalogFaults(topology: Topology): string[] {
  const topics = new Map(topology.topics.map((topic) => [topic.name, topic]));
  const senders = new Set(topology.services.filter(({ database }) => database).map(({ name }) => name));
  const strays = Object.entries(catalog).flatMap(([type, message]) => {
    const { topic, kind } = message;
    if ('service' in message) {
      if (senders.has(message.service)) return [];
      return [
        `packages/contracts/src/catalog.ts: ${message.service} sends ${type} to itself, and topology.yaml has no such service with a database. Correct one of the two.`,
      ];
    }
    const known = topics.get(topic);
    if (known?.kind === kind) return [];
    return [
      `packages/contracts/src/catalog.ts: ${type} is a ${kind} on ${topic}, which topology.yaml does not have. Correct one of the two.`,
    ];
  });
  const silent = topology.topics
    .filter((topic) => messagesOf(topic.name).length === 0)
    .map(
      ({ name }) =>
        `topology.yaml: no message in packages/contracts/src/catalog.ts is for ${name}. Add it, or remove the topic.`,
    );
  return [...strays, ...silent];
}

/** One JSON Schema per message type and one for the envelope, and the AsyncAPI document over what a broker carries. */
export function contractOutputs(topology: Topology): Output[] {
  const schemas = Object.entries({ Envelope, ...mapValues(catalog, ({ schema }) => schema) });
  return [
    ...schemas.map(([name, schema]) => ({
      path: `${SCHEMA_FOLDER}/${name}.json`,
      content: `${JSON.stringify(jsonSchema(name, schema), null, 2)}\n`,
    })),
    { path: ASYNCAPI, content: yamlFile(SOURCE, [{ value: asyncApi(topology) }]) },
  ];
}

/** As a reader has it: what is not declared is allowed and ignored. */
export function jsonSchema(name: string, schema: z.ZodType): Record<string, unknown> {
  const { $ref, $defs = {}, ...rest } = z.toJSONSchema(schema, { io: 'input' });
  const own = $ref ? $defs[name] : rest;
  const others = Object.fromEntries(Object.entries($defs).filter(([definition]) => definition !== name));
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `/schemas/${name}.json`,
    title: name,
    ...(own as object),
    ...(Object.keys(others).length > 0 && { $defs: others }),
  };
}

function asyncApi(topology: Topology) {
  const carried = Object.fromEntries(
    Object.entries(catalog).filter(([, message]) => !('service' in message)),
  );
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Sidecart messages',
      version: '1',
      description:
        'Every message is a CloudEvent (structured JSON). A topic is read and written through the Dapr components named after it.',
    },
    defaultContentType: 'application/cloudevents+json',
    channels: Object.fromEntries(
      topology.topics.map((topic) => [
        topic.stream,
        {
          address: topic.name,
          description:
            topic.kind === 'fact'
              ? `What happened in ${topic.owner}.`
              : `What ${topic.owner} is asked to do.`,
          messages: Object.fromEntries(
            messagesOf(topic.name).map(([type]) => [type, { $ref: `#/components/messages/${type}` }]),
          ),
        },
      ]),
    ),
    operations: Object.fromEntries(
      topology.topics.flatMap((topic) => [
        ...topic.publishers.map((app) => [
          `${app}-sends-${topic.stream}`,
          operation('send', topic.stream, app),
        ]),
        ...topic.consumers.map((app) => [
          `${app}-receives-${topic.stream}`,
          operation('receive', topic.stream, app),
        ]),
      ]),
    ),
    components: {
      messages: mapValues(carried, ({ schema }, type) => ({
        title: type,
        ...(schema.meta()?.description && { summary: schema.meta()?.description }),
        contentType: 'application/cloudevents+json',
        payload: {
          allOf: [
            { $ref: './schemas/Envelope.json' },
            { properties: { type: { const: type }, data: { $ref: `./schemas/${type}.json` } } },
          ],
        },
      })),
    },
  };
}

function operation(action: 'send' | 'receive', channel: string, app: string) {
  return { action, channel: { $ref: `#/channels/${channel}` }, tags: [{ name: app }] };
}

function mapValues<V, R>(record: Record<string, V>, map: (value: V, key: string) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value, key)]));
}
