import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { catalog } from '@sidecart/contracts/catalog';
import { Envelope } from '@sidecart/contracts/envelope';
import type { z } from 'zod';
import { jsonSchema } from './contracts.ts';
import type { Output } from './output.ts';
import type { Topology } from './topology.ts';

export const SAMPLE_FOLDER = 'packages/contracts/samples';

/**
 * Golden samples: one message of each type and version, as it was on the wire when the version came out. A sample that
 * is there is never written again: were today's schema to refuse it, messages that are still under way would break.
 */
export function missingSamples(root: string, topology: Topology): Output[] {
  const present = new Set(sampleFiles(root));
  return Object.keys(catalog)
    .map((type) => ({
      path: samplePath(type),
      content: `${JSON.stringify(sample(type, topology), null, 2)}\n`,
    }))
    .filter(({ path }) => !present.has(path));
}

/** Every sample that today's schemas refuse, with the reason. */
export function sampleFaults(root: string): string[] {
  return sampleFiles(root).flatMap((path) => {
    const fault = sampleFault(readFileSync(join(root, path), 'utf8'));
    if (!fault) return [];
    return [
      `${path}: ${fault}. Keep the schema able to read it; a breaking change is a new type, such as OrderPlaced.v2.`,
    ];
  });
}

/** Why the text is no message that today's readers take, or undefined when it is one. */
export function sampleFault(text: string): string | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return 'is no JSON';
  }
  const envelope = Envelope.safeParse(json);
  if (!envelope.success) return `breaks the envelope: ${oneLine(envelope.error)}`;
  const message = Object.entries(catalog).find(([type]) => type === envelope.data.type)?.[1];
  if (!message) return `${envelope.data.type} is no longer in packages/contracts/src/catalog.ts`;
  const data = message.schema.safeParse(envelope.data.data);
  if (!data.success) return `breaks ${envelope.data.type}: ${oneLine(data.error)}`;
  const key = (message.key as (data: unknown) => string)(data.data);
  return key === envelope.data.partitionkey
    ? undefined
    : `has partitionkey ${envelope.data.partitionkey} instead of ${key}`;
}

function samplePath(type: string): string {
  return `${SAMPLE_FOLDER}/${type.includes('.v') ? type : `${type}.v1`}.json`;
}

function sampleFiles(root: string): string[] {
  return readdirSync(join(root, SAMPLE_FOLDER), { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${SAMPLE_FOLDER}/${entry.name}`);
}

/** A first draft of a sample, from the examples in the schemas. Read it over before it is checked in. */
function sample(type: string, topology: Topology) {
  const message = Object.entries(catalog).find(([name]) => name === type)?.[1];
  if (!message) throw new Error(`There is no message type ${type}`);
  const data = exampleOf(jsonSchema(type, message.schema));
  const sender =
    'service' in message
      ? message.service
      : topology.topics.find(({ name }) => name === message.topic)?.publishers[0];
  return {
    specversion: '1.0',
    id: '0199c1a7-6a10-7d4e-8f21-5b7c9d0e1f23',
    source: `/sidecart/${sender}`,
    type,
    time: '2026-03-14T09:26:53.589Z',
    datacontenttype: 'application/json',
    dataschema: `/schemas/${type}.json`,
    partitionkey: (message.key as (data: unknown) => string)(data),
    sequence: '1',
    correlationid: '0199c1a7-5f2e-7c3a-9b1d-3f6a0c5e8d42',
    actor: 'anonymous',
    traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    data,
  };
}

interface JsonSchema {
  $ref?: string;
  $defs?: Record<string, JsonSchema>;
  example?: unknown;
  const?: unknown;
  enum?: unknown[];
  type?: string;
  properties?: Record<string, JsonSchema>;
  items?: JsonSchema;
  minimum?: number;
}

function exampleOf(schema: JsonSchema, definitions = schema.$defs ?? {}): unknown {
  if (schema.$ref) return exampleOf(definitions[schema.$ref.replace('#/$defs/', '')] ?? {}, definitions);
  if (schema.example !== undefined) return schema.example;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  switch (schema.type) {
    case 'object':
      return Object.fromEntries(
        Object.entries(schema.properties ?? {}).map(([name, property]) => [
          name,
          exampleOf(property, definitions),
        ]),
      );
    case 'array':
      return [exampleOf(schema.items ?? {}, definitions)];
    case 'integer':
      return schema.minimum ?? 0;
    case 'boolean':
      return true;
    default:
      return 'text';
  }
}

function oneLine(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join('.') || 'it'}: ${issue.message}`).join('; ');
}
